package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stat is the kernel's struct stat.
type Stat = unix.Stat_t

// StatAt, like fstatat(2) without following; name "" means dirfd itself.
func StatAt(dirfd int, name string, st *Stat) syscall.Errno {
	var n cname
	if e := n.set(name); e != 0 {
		return e
	}
	flags := uintptr(unix.AT_SYMLINK_NOFOLLOW)
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	for {
		_, _, e := syscall.Syscall6(sysFstatat, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])),
			uintptr(unsafe.Pointer(st)), flags, 0, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// StatFD, like fstat(2); it works on O_PATH descriptors too.
func StatFD(fd int, st *Stat) syscall.Errno {
	_, _, e := syscall.Syscall(sysFstat, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	return e
}

// Btime asks for the birth time of (dirfd, name); ok is false where the file
// system keeps none.
func Btime(dirfd int, name string) (sec int64, nsec uint32, ok bool) {
	var sx unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if unix.Statx(dirfd, name, flags, unix.STATX_BTIME, &sx) != nil || sx.Mask&unix.STATX_BTIME == 0 {
		return 0, 0, false
	}
	return sx.Btime.Sec, sx.Btime.Nsec, true
}

// MountID is the id of the mount that (dirfd, name) lives on; 0 where the
// kernel does not say (before 5.8).
func MountID(dirfd int, name string) uint64 {
	var sx unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if unix.Statx(dirfd, name, flags, unix.STATX_MNT_ID, &sx) != nil || sx.Mask&unix.STATX_MNT_ID == 0 {
		return 0
	}
	return sx.Mnt_id
}

// Chown changes the owner of (dirfd, name); -1 leaves an id.
func Chown(dirfd int, name string, uid, gid int) syscall.Errno {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return retry(func() syscall.Errno { return errno(unix.Fchownat(dirfd, name, uid, gid, flags)) })
}

// ChownFD, like fchown(2).
func ChownFD(fd, uid, gid int) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fchown(fd, uid, gid)) })
}

// Chmod changes the mode of (dirfd, name), which must not be a symbolic link
// (EOPNOTSUPP). The name is opened as a path first, so that a link put there
// meanwhile is not followed.
func Chmod(dirfd int, name string, mode uint32) syscall.Errno {
	if HasFchmodat2 {
		flags := uintptr(unix.AT_SYMLINK_NOFOLLOW)
		if name == "" {
			flags |= unix.AT_EMPTY_PATH
		}
		_, e := at1(unix.SYS_FCHMODAT2, dirfd, name, uintptr(mode), flags, 0)
		return e
	}
	fd := dirfd
	if name != "" {
		var e syscall.Errno
		if fd, e = Open(dirfd, name, unix.O_PATH, 0); e != 0 {
			return e
		}
		defer Close(fd)
	}
	var st Stat
	if e := StatFD(fd, &st); e != 0 {
		return e
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return errno(unix.Chmod(procPath(fd), mode))
}

// ChmodFD, like fchmod(2).
func ChmodFD(fd int, mode uint32) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fchmod(fd, mode)) })
}

// Utimes sets the times of (dirfd, name); Nsec may be unix.UTIME_NOW or
// unix.UTIME_OMIT.
func Utimes(dirfd int, name string, atime, mtime unix.Timespec) syscall.Errno {
	ts := [2]unix.Timespec{atime, mtime}
	flags := uintptr(unix.AT_SYMLINK_NOFOLLOW)
	var n cname
	if e := n.set(name); e != 0 {
		return e
	}
	if name == "" {
		// utimensat(2) takes AT_EMPTY_PATH since 5.8; a NULL name means the
		// descriptor itself on all kernels but not for O_PATH.
		flags |= unix.AT_EMPTY_PATH
	}
	for {
		_, _, e := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(dirfd), uintptr(unsafe.Pointer(&n[0])),
			uintptr(unsafe.Pointer(&ts[0])), flags, 0, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// UtimesFD, like futimens(3).
func UtimesFD(fd int, atime, mtime unix.Timespec) syscall.Errno {
	ts := [2]unix.Timespec{atime, mtime}
	for {
		_, _, e := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// Statfs, like fstatfs(2).
func Statfs(fd int, st *unix.Statfs_t) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fstatfs(fd, st)) })
}
