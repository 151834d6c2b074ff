package seccomp

import "github.com/opencontainers/runtime-spec/specs-go"

// ownerCalls change the owner of a file, or the ids of a process to ones that
// may not exist.
var ownerCalls = []string{
	"chown", "chown32", "fchown", "fchown32", "lchown", "lchown32", "fchownat",
	"setgroups", "setgroups32",
}

// Pretend changes a profile so that the calls which a user namespace of one id
// refuses seem to succeed. What ran before with the same ids goes on with them.
func Pretend(p *specs.LinuxSeccomp) {
	none := uint(0)
	kept := p.Syscalls[:0:0]
	for _, s := range p.Syscalls {
		s.Names = without(s.Names, ownerCalls)
		if len(s.Names) > 0 {
			kept = append(kept, s)
		}
	}
	p.Syscalls = append(kept, specs.LinuxSyscall{Names: ownerCalls, Action: specs.ActErrno, ErrnoRet: &none})
}

func without(names, gone []string) []string {
	var out []string
	for _, n := range names {
		keep := true
		for _, g := range gone {
			keep = keep && n != g
		}
		if keep {
			out = append(out, n)
		}
	}
	return out
}
