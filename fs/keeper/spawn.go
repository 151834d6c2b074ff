package keeper

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// start starts a server; first is a socket for it, or -1.
func (k *keeper) start(first int, env ...string) error {
	p, err := k.spawn(k.exe, first, env...)
	if err != nil {
		return err
	}
	k.adopt(p)
	return nil
}

// linkFrom is the lowest number that the link to the keeper may have in a server:
// not one that the caller of plyfs is likely to have given to something of its own.
const linkFrom = 32

// process is a server that was started.
type process struct{ pid, pidfd, sock int }

func (k *keeper) spawn(exe string, first int, env ...string) (p process, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	defer unix.Close(pair[1])
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	defer unix.Close(null)
	if first < 0 {
		first = null
	}
	theirs, err := unix.FcntlInt(uintptr(pair[1]), unix.F_DUPFD, linkFrom)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	defer unix.Close(theirs)
	attr := &syscall.ProcAttr{
		Env:   append(k.env[:len(k.env):len(k.env)], append(env, fmt.Sprintf("%s=%d", serverEnv, theirs))...),
		Files: []uintptr{0, 1, 2, uintptr(first)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if k.ready {
		attr.Files[2] = uintptr(k.get("log", null))
	}
	pid, err := syscall.ForkExec(exe, append([]string{"plyfs"}, os.Args[1:]...), attr)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		unix.Close(pair[0])
		return p, fmt.Errorf("pidfd_open (Linux 5.3): %w", err)
	}
	return process{pid, pidfd, pair[0]}, nil
}
