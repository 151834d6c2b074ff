package notify

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif with its struct seccomp_data.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

const (
	ioctlRecv  = 0xc0502100
	ioctlSend  = 0xc0182101
	ioctlValid = 0x40082102
)

func ioctl(fd int, req uintptr, p unsafe.Pointer) syscall.Errno {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(p))
		if e != unix.EINTR {
			return e
		}
	}
}

// Serve answers the calls of all processes under the filter until the last one
// has ended. It closes the listener.
func Serve(listener int) error {
	defer unix.Close(listener)
	for {
		p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for notifications: %w", err)
		}
		switch {
		case p[0].Revents&unix.POLLIN != 0:
		case p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return nil
		default:
			continue
		}
		var n notification
		if e := ioctl(listener, ioctlRecv, unsafe.Pointer(&n)); e != 0 {
			if e == unix.ENOENT {
				continue // the caller was killed
			}
			return fmt.Errorf("receiving a notification: %w", e)
		}
		e := (&request{n: &n, listener: listener}).serve()
		a := answer{id: n.id, errno: -int32(e)}
		if e := ioctl(listener, ioctlSend, unsafe.Pointer(&a)); e != 0 && e != unix.ENOENT {
			return fmt.Errorf("answering a notification: %w", e)
		}
	}
}
