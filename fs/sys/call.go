package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NameMax is NAME_MAX: the longest file name in bytes.
const NameMax = 255

// cname is a name with its terminating NUL, on the caller's stack.
type cname [NameMax + 1]byte

// set copies name; the errno is that of the kernel for a name it would not
// take.
func (c *cname) set(name string) syscall.Errno {
	if len(name) > NameMax {
		return unix.ENAMETOOLONG
	}
	n := copy(c[:], name)
	c[n] = 0
	return 0
}

// retry repeats a call that a signal interrupted. Go's runtime preempts with
// signals, so EINTR comes at any time.
func retry(fn func() syscall.Errno) syscall.Errno {
	for {
		if e := fn(); e != unix.EINTR {
			return e
		}
	}
}

// at1 is a system call with the arguments (dirfd, name, a, b, c).
func at1(trap uintptr, dirfd int, name string, a, b, c uintptr) (uintptr, syscall.Errno) {
	var n cname
	if e := n.set(name); e != 0 {
		return 0, e
	}
	for {
		r, _, e := syscall.Syscall6(trap, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])), a, b, c, 0)
		if e != unix.EINTR {
			return r, e
		}
	}
}

// at2 is a system call with the arguments (dirfd, name, dirfd, name, flags).
func at2(trap uintptr, dirfd int, name string, dirfd2 int, name2 string, flags uintptr) syscall.Errno {
	var n, m cname
	if e := n.set(name); e != 0 {
		return e
	}
	if e := m.set(name2); e != 0 {
		return e
	}
	for {
		_, _, e := syscall.Syscall6(trap, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])),
			uintptr(dirfd2), uintptr(unsafe.Pointer(&m[0])), flags, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// errno turns an error of x/sys into a number.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}
