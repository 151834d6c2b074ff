package keeper

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// order takes an order of `plyfs upgrade`, or one that came to the keeper of many
// servers.
func (k *keeper) order() {
	sock := -1
	var err error
	if k.many {
		_, _, sock, err = receive(k.listen)
	} else {
		sock, _, err = unix.Accept4(k.listen, unix.SOCK_CLOEXEC)
	}
	if err != nil || sock < 0 {
		return
	}
	defer unix.Close(sock)
	if !k.many && !mayOrder(sock) {
		return
	}
	word, _, exe, err := receive(sock)
	switch {
	case err != nil:
	case word != sayUpgrade || exe < 0:
		_ = send(sock, sayUnable, "the keeper doesn't know the order "+word, -1)
	default:
		if err := k.upgrade(exe); err != nil {
			unix.Close(exe)
			_ = send(sock, sayUnable, err.Error()+"; the server that runs goes on", -1)
		} else {
			_ = send(sock, sayAble, "", -1)
		}
	}
}

// mayOrder says whether who has connected may give orders, and has the connection
// wait for nobody for ever.
func mayOrder(sock int) bool {
	who, err := unix.GetsockoptUcred(sock, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || who.Uid != 0 && int(who.Uid) != os.Geteuid() {
		_ = send(sock, sayUnable, "the mount is another user's", -1)
		return false
	}
	limit := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	return true
}

// upgrade has another program go on. The server that runs is killed when the new
// one has said that it can: that is what taking over is made for.
func (k *keeper) upgrade(exe int) error {
	path := fdPath(exe)
	p, err := k.spawn(path, -1)
	if err != nil {
		return fmt.Errorf("cannot start it: %w", err)
	}
	if err := k.hand(p, stillAlive); err != nil {
		endChild(p)
		return err
	}
	if k.many {
		// It may have mounted more meanwhile: the one that goes on gets all anew.
		endChild(p)
		k.forget(exeName)
		k.put(exeName, exe)
		k.exe, k.replaced = path, true
		return unix.PidfdSendSignal(k.pidfd, syscall.SIGKILL, nil, 0)
	}
	_ = unix.PidfdSendSignal(k.pidfd, syscall.SIGKILL, nil, 0)
	k.reap()
	var old int
	if _, err := fmt.Sscanf(k.exe, "/proc/self/fd/%d", &old); err == nil {
		unix.Close(old)
	}
	k.exe = path
	k.adopt(p)
	return send(p.sock, sayGo, "0", -1)
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
