package sys

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The *xattrat system calls came with Linux 6.13.
const (
	sysSetxattrat    = 463
	sysGetxattrat    = 464
	sysListxattrat   = 465
	sysRemovexattrat = 466
)

// xattrArgs is struct xattr_args of the kernel.
type xattrArgs struct {
	value unsafe.Pointer // __aligned_u64
	_     [8 - unsafe.Sizeof(uintptr(0))]byte
	size  uint32
	flags uint32
}

// xname is an xattr name with its NUL (XATTR_NAME_MAX is 255 too).
func (c *cname) xname(name string) syscall.Errno {
	if len(name) > NameMax {
		return unix.ERANGE
	}
	return c.set(name)
}

// xattrAt makes one of the *xattrat calls. The kernel refuses an empty name on
// an O_PATH descriptor (EBADF); a directory is then reached as ".", which is
// what such a descriptor is nearly always of, and so is tried first.
//
// Pointers stay pointers until the system call itself: a stack may move.
func xattrAt(trap uintptr, dirfd int, name string, a, b unsafe.Pointer, n uintptr) (int, syscall.Errno) {
	if name != "" {
		return xattrCall(trap, dirfd, name, a, b, n)
	}
	r, e := xattrCall(trap, dirfd, ".", a, b, n)
	if e == unix.ENOTDIR || e == unix.EACCES { // EACCES: a directory that may not be searched
		r, e = xattrCall(trap, dirfd, "", a, b, n)
	}
	return r, e
}

func xattrCall(trap uintptr, dirfd int, name string, a, b unsafe.Pointer, n uintptr) (int, syscall.Errno) {
	var c cname
	if e := c.set(name); e != 0 {
		return 0, e
	}
	for {
		var r uintptr
		var e syscall.Errno
		if trap == sysListxattrat {
			r, _, e = syscall.Syscall6(trap, uintptr(dirfd), uintptr(unsafe.Pointer(&c[0])), atFlags(name), uintptr(a), n, 0)
		} else {
			r, _, e = syscall.Syscall6(trap, uintptr(dirfd), uintptr(unsafe.Pointer(&c[0])), atFlags(name), uintptr(a), uintptr(b), n)
		}
		if e != unix.EINTR {
			return int(r), e
		}
	}
}

// GetXattr reads an xattr of (dirfd, name) itself, never of what a link points
// to; name "" means dirfd. An empty p asks for the size. O_PATH descriptors are
// fine.
func GetXattr(dirfd int, name, attr string, p []byte) (int, syscall.Errno) {
	var a cname
	if e := a.xname(attr); e != 0 {
		return 0, e
	}
	if HasXattrat {
		args := xattrArgs{value: unsafe.Pointer(unsafe.SliceData(p)), size: uint32(len(p))}
		r, e := xattrAt(sysGetxattrat, dirfd, name, unsafe.Pointer(&a[0]), unsafe.Pointer(&args), unsafe.Sizeof(args))
		if e != unix.EBADF || name != "" {
			return r, e
		}
	}
	return getProc(dirfd, name, attr, p)
}

func getProc(dirfd int, name, attr string, p []byte) (int, syscall.Errno) {
	var r int
	e := viaProc(dirfd, name, func(path string) (err error) {
		r, err = unix.Getxattr(path, attr, p)
		return err
	})
	return r, e
}

// SetXattr sets an xattr of (dirfd, name) itself; flags are XATTR_CREATE and
// XATTR_REPLACE.
func SetXattr(dirfd int, name, attr string, value []byte, flags int) syscall.Errno {
	var a cname
	if e := a.xname(attr); e != 0 {
		return e
	}
	if HasXattrat {
		args := xattrArgs{value: unsafe.Pointer(unsafe.SliceData(value)), size: uint32(len(value)), flags: uint32(flags)}
		_, e := xattrAt(sysSetxattrat, dirfd, name, unsafe.Pointer(&a[0]), unsafe.Pointer(&args), unsafe.Sizeof(args))
		if e != unix.EBADF || name != "" {
			return e
		}
	}
	return viaProc(dirfd, name, func(path string) error { return unix.Setxattr(path, attr, value, flags) })
}

// ListXattr lists the xattr names of (dirfd, name) itself, each ended by a
// NUL. An empty p asks for the size.
func ListXattr(dirfd int, name string, p []byte) (int, syscall.Errno) {
	if HasXattrat {
		r, e := xattrAt(sysListxattrat, dirfd, name, unsafe.Pointer(unsafe.SliceData(p)), nil, uintptr(len(p)))
		if e != unix.EBADF || name != "" {
			return r, e
		}
	}
	var r int
	e := viaProc(dirfd, name, func(path string) (err error) {
		r, err = unix.Listxattr(path, p)
		return err
	})
	return r, e
}

// RemoveXattr removes an xattr of (dirfd, name) itself.
func RemoveXattr(dirfd int, name, attr string) syscall.Errno {
	var a cname
	if e := a.xname(attr); e != 0 {
		return e
	}
	if HasXattrat {
		_, e := xattrAt(sysRemovexattrat, dirfd, name, unsafe.Pointer(&a[0]), nil, 0)
		if e != unix.EBADF || name != "" {
			return e
		}
	}
	return viaProc(dirfd, name, func(path string) error { return unix.Removexattr(path, attr) })
}

// ReadXattr is GetXattr into a slice of its own.
func ReadXattr(dirfd int, name, attr string) ([]byte, syscall.Errno) {
	var small [256]byte
	n, e := GetXattr(dirfd, name, attr, small[:])
	if e == 0 {
		return append([]byte(nil), small[:n]...), 0
	}
	for e == unix.ERANGE {
		if n, e = GetXattr(dirfd, name, attr, nil); e != 0 {
			break
		}
		buf := make([]byte, n+64)
		if n, e = GetXattr(dirfd, name, attr, buf); e == 0 {
			return buf[:n], 0
		}
	}
	return nil, e
}

// ListXattrs is ListXattr into a slice of its own.
func ListXattrs(dirfd int, name string) ([]byte, syscall.Errno) {
	for {
		n, e := ListXattr(dirfd, name, nil)
		if e != 0 || n == 0 {
			return nil, e
		}
		buf := make([]byte, n+64)
		if n, e = ListXattr(dirfd, name, buf); e != unix.ERANGE {
			return buf[:max(n, 0)], e
		}
	}
}

func atFlags(name string) uintptr {
	if name == "" {
		return unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	}
	return unix.AT_SYMLINK_NOFOLLOW
}

// viaProc reaches an object through /proc/self/fd: following that magic link
// ends at the very object behind an O_PATH|O_NOFOLLOW descriptor, a symbolic
// link included, and never at what it points to.
func viaProc(dirfd int, name string, fn func(path string) error) syscall.Errno {
	fd := dirfd
	if name != "" {
		var e syscall.Errno
		if fd, e = Open(dirfd, name, unix.O_PATH, 0); e != 0 {
			return e
		}
		defer Close(fd)
	}
	path := procPath(fd)
	return retry(func() syscall.Errno { return errno(fn(path)) })
}

func procPath(fd int) string {
	return "/proc/self/fd/" + strconv.Itoa(fd)
}
