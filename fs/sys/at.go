package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open opens name in dirfd with O_NOFOLLOW and O_CLOEXEC. name "" is not
// taken: use Reopen. The descriptor belongs to the caller.
func Open(dirfd int, name string, flags int, mode uint32) (int, syscall.Errno) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE
	r, e := at1(unix.SYS_OPENAT, dirfd, name, uintptr(flags), uintptr(mode), 0)
	if e != 0 {
		return -1, e
	}
	return int(r), 0
}

// OpenDir opens a directory as an O_PATH descriptor: good for *at calls, and
// it needs no permission on the directory itself.
func OpenDir(dirfd int, name string) (int, syscall.Errno) {
	return Open(dirfd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// OpenTmp makes a file without a name (O_TMPFILE) in the directory dirfd.
func OpenTmp(dirfd int, flags int, mode uint32) (int, syscall.Errno) {
	return Open(dirfd, ".", flags|unix.O_TMPFILE, mode)
}

// OpenBeneath opens a path of several components below root. It never leaves
// root, never follows a symbolic link and never enters /proc's magic links;
// where the kernel has no openat2 the components are walked one by one.
func OpenBeneath(root int, path string, flags int) (int, syscall.Errno) {
	if HasOpenat2 && len(path) < unix.PathMax {
		how := unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		}
		for {
			fd, err := unix.Openat2(root, path, &how)
			if err == unix.EINTR || err == unix.EAGAIN {
				continue
			}
			if err != nil {
				return -1, errno(err)
			}
			return fd, 0
		}
	}
	return walkBeneath(root, path, flags)
}

// walkBeneath is OpenBeneath without openat2.
func walkBeneath(root int, path string, flags int) (int, syscall.Errno) {
	fd := root
	for {
		comp, rest := cutPath(path)
		switch comp {
		case "":
			if fd == root {
				return Open(root, ".", flags, 0)
			}
			return fd, 0
		case ".":
			path = rest
			continue
		case "..":
			if fd != root {
				unix.Close(fd)
			}
			return -1, unix.EXDEV
		}
		f := unix.O_PATH | unix.O_DIRECTORY
		if rest == "" {
			f = flags
		}
		next, e := Open(fd, comp, f, 0)
		if fd != root {
			unix.Close(fd)
		}
		if e != 0 {
			return -1, e
		}
		fd, path = next, rest
	}
}

// cutPath splits off the first component of a relative path.
func cutPath(p string) (comp, rest string) {
	i := 0
	for i < len(p) && p[i] == '/' {
		i++
	}
	j := i
	for j < len(p) && p[j] != '/' {
		j++
	}
	comp = p[i:j]
	for j < len(p) && p[j] == '/' {
		j++
	}
	return comp, p[j:]
}

// Close closes a descriptor; the error of close(2) says nothing that we could
// act on.
func Close(fd int) {
	_ = unix.Close(fd)
}

// Mkdir, like mkdirat(2).
func Mkdir(dirfd int, name string, mode uint32) syscall.Errno {
	_, e := at1(unix.SYS_MKDIRAT, dirfd, name, uintptr(mode), 0, 0)
	return e
}

// Mknod, like mknodat(2); dev is in the kernel's new_encode_dev form.
func Mknod(dirfd int, name string, mode uint32, dev uint32) syscall.Errno {
	_, e := at1(unix.SYS_MKNODAT, dirfd, name, uintptr(mode), uintptr(dev), 0)
	return e
}

// Unlink removes a name that is no directory.
func Unlink(dirfd int, name string) syscall.Errno {
	_, e := at1(unix.SYS_UNLINKAT, dirfd, name, 0, 0, 0)
	return e
}

// Rmdir removes an empty directory.
func Rmdir(dirfd int, name string) syscall.Errno {
	_, e := at1(unix.SYS_UNLINKAT, dirfd, name, unix.AT_REMOVEDIR, 0, 0)
	return e
}

// Rename, like renameat2(2) with its flags.
func Rename(dirfd int, name string, dirfd2 int, name2 string, flags uint) syscall.Errno {
	return at2(unix.SYS_RENAMEAT2, dirfd, name, dirfd2, name2, uintptr(flags))
}

// Link gives the object at (dirfd, name) a second name; a symbolic link is
// linked itself.
func Link(dirfd int, name string, dirfd2 int, name2 string) syscall.Errno {
	return at2(unix.SYS_LINKAT, dirfd, name, dirfd2, name2, 0)
}

// LinkFD names the (possibly nameless) file behind fd. It goes through
// /proc/self/fd, which needs no capability.
func LinkFD(fd int, dirfd int, name string) syscall.Errno {
	return errno(unix.Linkat(unix.AT_FDCWD, procPath(fd), dirfd, name, unix.AT_SYMLINK_FOLLOW))
}

// Symlink makes a symbolic link with the given target.
func Symlink(target string, dirfd int, name string) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Symlinkat(target, dirfd, name)) })
}

// Readlink reads a symbolic link's target.
func Readlink(dirfd int, name string) (string, syscall.Errno) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dirfd, name, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", errno(err)
		}
		if n < size || size > 1<<16 {
			return unsafe.String(&buf[0], n), 0
		}
	}
}

// Exists says whether name is there, without following it.
func Exists(dirfd int, name string) bool {
	_, e := at1(unix.SYS_FACCESSAT2, dirfd, name, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW, 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		var st Stat
		return StatAt(dirfd, name, &st) == 0
	}
	return e == 0
}
