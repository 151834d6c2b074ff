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
	value uint64
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

// GetXattr reads an xattr of (dirfd, name) itself, never of what a link points
// to; name "" means dirfd. An empty p asks for the size. O_PATH descriptors are
// fine.
func GetXattr(dirfd int, name, attr string, p []byte) (int, syscall.Errno) {
	var n, a cname
	if e := n.set(name); e != 0 {
		return 0, e
	}
	if e := a.xname(attr); e != 0 {
		return 0, e
	}
	if HasXattrat {
		args := xattrArgs{value: uint64(ptr(p)), size: uint32(len(p))}
		for {
			r, _, e := syscall.Syscall6(sysGetxattrat, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])), atFlags(name),
				uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
			if e != unix.EINTR {
				return int(r), e
			}
		}
	}
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
	var n, a cname
	if e := n.set(name); e != 0 {
		return e
	}
	if e := a.xname(attr); e != 0 {
		return e
	}
	if HasXattrat {
		args := xattrArgs{value: uint64(ptr(value)), size: uint32(len(value)), flags: uint32(flags)}
		for {
			_, _, e := syscall.Syscall6(sysSetxattrat, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])), atFlags(name),
				uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
			if e != unix.EINTR {
				return e
			}
		}
	}
	return viaProc(dirfd, name, func(path string) error { return unix.Setxattr(path, attr, value, flags) })
}

// ListXattr lists the xattr names of (dirfd, name) itself, each ended by a
// NUL. An empty p asks for the size.
func ListXattr(dirfd int, name string, p []byte) (int, syscall.Errno) {
	var n cname
	if e := n.set(name); e != 0 {
		return 0, e
	}
	if HasXattrat {
		for {
			r, _, e := syscall.Syscall6(sysListxattrat, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])), atFlags(name),
				ptr(p), uintptr(len(p)), 0)
			if e != unix.EINTR {
				return int(r), e
			}
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
	var n, a cname
	if e := n.set(name); e != 0 {
		return e
	}
	if e := a.xname(attr); e != 0 {
		return e
	}
	if HasXattrat {
		for {
			_, _, e := syscall.Syscall6(sysRemovexattrat, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])), atFlags(name),
				uintptr(unsafe.Pointer(&a[0])), 0, 0)
			if e != unix.EINTR {
				return e
			}
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
