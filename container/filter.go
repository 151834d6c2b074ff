package container

import (
	"fmt"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/seccomp"
)

type filterResult struct {
	program []byte
	err     error
}

// compileFilter makes the seccomp program of a payload; pretend makes changes
// of owners seem to succeed.
func compileFilter(p *Process, pretend bool) filterResult {
	if p.Seccomp.Unconfined && !pretend {
		return filterResult{}
	}
	if p.Seccomp.Profile == nil && !p.Seccomp.Unconfined && !pretend {
		if program, ok := seccomp.Cached(p.Caps); ok {
			return filterResult{program: program}
		}
	}
	var profile *specs.LinuxSeccomp
	var err error
	switch {
	case p.Seccomp.Unconfined:
		profile = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	case p.Seccomp.Profile != nil:
		profile, err = seccomp.Load(p.Seccomp.Profile, p.Caps)
	default:
		profile, err = seccomp.Default(p.Caps)
	}
	if err == nil && pretend {
		seccomp.Pretend(profile)
	}
	var insns []unix.SockFilter
	if err == nil {
		insns, err = seccomp.Compile(profile)
	}
	if err != nil {
		return filterResult{err: fmt.Errorf("seccomp: %w", err)}
	}
	size := len(insns) * int(unsafe.Sizeof(insns[0]))
	return filterResult{program: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(insns))), size)}
}
