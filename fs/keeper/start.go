package keeper

import (
	"fmt"
	"os"
	"syscall"
	"time"

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
	if k.ready && !k.many {
		attr.Files[2] = uintptr(k.get("log", null))
	}
	pid, err := syscall.ForkExec(exe, k.args, attr)
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

// adopt makes a process the server.
func (k *keeper) adopt(p process) {
	k.pid.Store(int64(p.pid))
	k.pidfd, k.sock = p.pidfd, p.sock
	k.begun = k.count()
	for i := range k.mounts {
		k.mounts[i].waiting = time.Time{}
	}
	k.store.add(k.id+pidfdName, k.pidfd)
	k.store.add(k.id+sockName, k.sock)
}

// endChild ends a process that was started and isn't wanted.
func endChild(p process) {
	_ = unix.PidfdSendSignal(p.pidfd, syscall.SIGKILL, nil, 0)
	for {
		if _, err := syscall.Wait4(p.pid, nil, 0, nil); err != syscall.EINTR {
			break
		}
	}
	unix.Close(p.pidfd)
	unix.Close(p.sock)
}

// restart has another server go on. Beside an error there is how it ended, if it did
// so by itself.
func (k *keeper) restart(weight uint64) (status syscall.WaitStatus, err error) {
	p, err := k.spawn(k.exe, -1)
	if err != nil {
		return 0, err
	}
	k.adopt(p)
	if err = k.hand(p, ""); err == nil {
		_ = send(p.sock, sayGo, fmt.Sprint(weight), -1) // if it has died meanwhile, loop sees that
		return 0, nil
	}
	if IsGone(err) {
		return k.reap(), err
	}
	_ = unix.PidfdSendSignal(p.pidfd, syscall.SIGKILL, nil, 0)
	k.reap()
	return 0, err
}

// hand gives a new server what there is, and asks whether it can go on.
func (k *keeper) hand(p process, alive string) error {
	limit := unix.Timeval{Sec: 30}
	_ = unix.SetsockoptTimeval(p.sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	for _, h := range k.held {
		if k.many && ours(h.name) {
			continue
		}
		if err := send(p.sock, sayFD, h.name, h.fd); err != nil {
			return err
		}
	}
	if err := send(p.sock, sayOver, alive, -1); err != nil {
		return err
	}
	word, text, _, err := receive(p.sock)
	switch {
	case err != nil:
		return fmt.Errorf("it said nothing: %w", err)
	case word != sayAble:
		return fmt.Errorf("%s", text)
	}
	return nil
}
