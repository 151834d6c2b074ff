package seccomp

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// arch is a machine: its number in struct seccomp_data, and its system calls as
// pairs of a name and a number.
type arch struct {
	audit uint32
	names string
}

// Default is moby's profile for a process with these capabilities.
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	return moby.GetDefaultProfile(withCaps(caps))
}

// Load reads a profile in either form.
func Load(text []byte, caps []string) (*specs.LinuxSeccomp, error) {
	if !json.Valid(text) {
		return nil, fmt.Errorf("the seccomp profile is not JSON")
	}
	p, err := moby.LoadProfile(string(text), withCaps(caps))
	if err == nil && p == nil {
		err = fmt.Errorf("the seccomp profile has neither a default action nor system calls")
	}
	return p, err
}

func withCaps(caps []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}

// ret is the kernel's value for an action.
func ret(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	e := uint32(unix.EPERM)
	if errno != nil {
		e = uint32(*errno)
	}
	switch a {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | e&unix.SECCOMP_RET_DATA, nil
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	}
	return 0, fmt.Errorf("the seccomp action %s can't be served: nobody here traces or is notified", a)
}

// rule is one way in which a system call is judged.
type rule struct {
	args []specs.LinuxSeccompArg
	ret  uint32
}

// Compile makes the program. Of several rules for one call the first that
// matches counts, and one without conditions comes last.
func Compile(p *specs.LinuxSeccomp) ([]unix.SockFilter, error) {
	if len(arches) == 0 {
		return nil, fmt.Errorf("there are no system call tables for %s: use --security-opt seccomp=unconfined", runtime.GOARCH)
	}
	def, err := ret(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	b := new(builder)
	for _, a := range arches {
		calls, err := a.judge(p, def)
		if err != nil {
			return nil, err
		}
		if err := b.arch(a, calls, def); err != nil {
			return nil, err
		}
	}
	b.ret(unix.SECCOMP_RET_KILL_PROCESS)
	const maxInsns = 4096
	if len(b.out) > maxInsns {
		return nil, fmt.Errorf("the seccomp profile makes a program of %d steps, and the kernel takes %d", len(b.out), maxInsns)
	}
	return b.out, nil
}

// judge gives the rules for each number of an architecture.
func (a arch) judge(p *specs.LinuxSeccomp, def uint32) (map[uint32][]rule, error) {
	numbers := a.numbers()
	calls := make(map[uint32][]rule)
	for _, s := range p.Syscalls {
		value, err := ret(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, err
		}
		for _, name := range s.Names {
			nr, ok := numbers[name]
			if !ok {
				continue // another architecture's, or newer than we are
			}
			if len(s.Args) == 0 {
				calls[nr] = append(calls[nr], rule{nil, value})
				continue
			}
			for _, args := range alternatives(s.Args) {
				calls[nr] = append(calls[nr], rule{args, value})
			}
		}
	}
	for nr, rules := range calls {
		slices.SortStableFunc(rules, func(x, y rule) int {
			return min(len(y.args), 1) - min(len(x.args), 1)
		})
		calls[nr] = rules
	}
	return calls, nil
}

// alternatives: conditions on different arguments must all hold; of several on
// the same argument one is enough, which is how libseccomp's users have it.
func alternatives(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			var out [][]specs.LinuxSeccompArg
			for _, a := range args {
				out = append(out, []specs.LinuxSeccompArg{a})
			}
			return out
		}
		seen[a.Index] = true
	}
	return [][]specs.LinuxSeccompArg{args}
}

func (a arch) numbers() map[string]uint32 {
	out := make(map[string]uint32, 512)
	words := strings.Fields(a.names)
	for i := 0; i+1 < len(words); i += 2 {
		n, err := strconv.ParseUint(words[i+1], 10, 32)
		if err == nil {
			out[words[i]] = uint32(n)
		}
	}
	return out
}

// last is the highest number that the table has.
func (a arch) last() uint32 {
	var top uint32
	for _, n := range a.numbers() {
		if n < privateCalls { // ARM's own calls lie far above
			top = max(top, n)
		}
	}
	return top
}

const privateCalls = 0x0f0000
