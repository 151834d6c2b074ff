package notify

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
)

// place says which argument of a call is which; -1 is none.
type place struct {
	dirfd, path, uid, gid, flags int
	mode, dev                    int // of mknod; 0 with the others
	follow                       bool
	byFD                         bool // the argument dirfd is the file itself
}

// common is where for the calls that all architectures have.
func common(nr int32) (place, bool) {
	switch nr {
	case unix.SYS_FCHOWN:
		return place{dirfd: 0, path: -1, uid: 1, gid: 2, flags: -1, byFD: true}, true
	case unix.SYS_FCHOWNAT:
		return place{dirfd: 0, path: 1, uid: 2, gid: 3, flags: 4, follow: true}, true
	case unix.SYS_MKNODAT:
		return place{dirfd: 0, path: 1, mode: 2, dev: 3, flags: -1}, true
	}
	return place{}, false
}

// request is one caught call.
type request struct {
	n        *notification
	listener int
}

// serve does what the caller asked for; the errno is what the caller gets.
func (r *request) serve() syscall.Errno {
	at, ok := where(r.n.nr)
	if !ok {
		return unix.ENOSYS
	}
	if at.mode > 0 {
		return r.mknod(at)
	}
	fd, e := r.open(at)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	value := fmt.Sprintf("%d:%d", int32(r.n.args[at.uid]), int32(r.n.args[at.gid]))
	return keep(fd, dialect.ChownXattr, value)
}

// valid says whether the caller still waits: then what was read of its memory,
// and of its directories in /proc, was its own.
func (r *request) valid() bool {
	id := r.n.id
	return ioctl(r.listener, ioctlValid, unsafe.Pointer(&id)) == 0
}

// proc is a file of the caller's in /proc.
func (r *request) proc(name string) string {
	return "/proc/" + strconv.Itoa(int(r.n.pid)) + "/" + name
}

// open opens what the call is about, as a path.
func (r *request) open(at place) (int, syscall.Errno) {
	flags := 0
	if at.flags >= 0 {
		flags = int(r.n.args[at.flags])
	}
	dirfd := unix.AT_FDCWD
	if at.dirfd >= 0 {
		dirfd = int(int32(r.n.args[at.dirfd]))
	}
	name := ""
	if !at.byFD {
		var e syscall.Errno
		if name, e = r.text(r.n.args[at.path]); e != 0 {
			return -1, e
		}
		if name == "" && flags&unix.AT_EMPTY_PATH == 0 {
			return -1, unix.ENOENT
		}
	}
	if name == "" {
		return r.own(dirfd)
	}
	o := unix.O_PATH
	if !at.follow || flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		o |= unix.O_NOFOLLOW
	}
	return r.walk(dirfd, name, o)
}

// own opens a descriptor of the caller's anew, or its working directory.
func (r *request) own(fd int) (int, syscall.Errno) {
	name := "cwd"
	if fd != unix.AT_FDCWD {
		name = "fd/" + strconv.Itoa(fd)
	}
	got, err := unix.Open(r.proc(name), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return -1, unix.EBADF
	}
	if err == nil && !r.valid() {
		sys.Close(got)
		return -1, unix.ESRCH
	}
	return got, errnoOf(err)
}

// walk resolves a path of the caller's as the kernel would for it.
func (r *request) walk(dirfd int, name string, flags int) (int, syscall.Errno) {
	root, err := unix.Open(r.proc("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errnoOf(err)
	}
	defer sys.Close(root)
	if !r.valid() {
		return -1, unix.ESRCH
	}
	start := root
	if !strings.HasPrefix(name, "/") {
		var e syscall.Errno
		if start, e = r.own(dirfd); e != 0 {
			return -1, e
		}
		defer sys.Close(start)
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !sameDir(root, "/") {
		// It has another root than we have: no path may lead out of it.
		if start != root {
			if name, err = joinFrom(root, start, name); err != nil {
				return -1, unix.EACCES
			}
			start = root
		}
		how.Resolve |= unix.RESOLVE_IN_ROOT
	}
	for {
		fd, err := unix.Openat2(start, name, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return fd, errnoOf(err)
	}
}

// sameDir says whether a descriptor and a path of ours are one directory.
func sameDir(fd int, p string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(p, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// joinFrom makes a path relative to root of one that is relative to dir.
func joinFrom(root, dir int, name string) (string, error) {
	r, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(root))
	if err != nil {
		return "", err
	}
	d, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(dir))
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(d+"/", strings.TrimSuffix(r, "/")+"/")
	if !ok {
		return "", unix.EACCES
	}
	return rest + name, nil // no Clean: a name before .. may be a link
}

// text reads a path from the caller's memory.
func (r *request) text(addr uint64) (string, syscall.Errno) {
	fd, err := unix.Open(r.proc("mem"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", errnoOf(err)
	}
	defer sys.Close(fd)
	if !r.valid() {
		return "", unix.ESRCH
	}
	buf := make([]byte, unix.PathMax)
	n := 0
	for n < len(buf) {
		// Page by page: the next one may not be there.
		end := min(len(buf), n+4096-int((addr+uint64(n))%4096))
		k, err := unix.Pread(fd, buf[n:end], int64(addr)+int64(n))
		if err != nil || k <= 0 {
			return "", unix.EFAULT
		}
		if i := bytes.IndexByte(buf[n:n+k], 0); i >= 0 {
			return string(buf[:n+i]), 0
		}
		n += k
	}
	return "", unix.ENAMETOOLONG
}

// keep has the union note something of a file as data. What is on another
// filesystem, or can't carry it, stays as it is.
func keep(fd int, attr, value string) syscall.Errno {
	var st, root unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errnoOf(err)
	}
	if unix.Stat("/", &root) != nil || st.Dev != root.Dev {
		return 0
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFDIR {
		return 0
	}
	switch e := sys.SetXattr(fd, "", attr, []byte(value), 0); e {
	case unix.EPERM, unix.EOPNOTSUPP:
		return 0 // a root that keeps no owners
	default:
		return e
	}
}

// mknod makes a regular file and has the union keep it as a device.
func (r *request) mknod(at place) syscall.Errno {
	dirfd := unix.AT_FDCWD
	if at.dirfd >= 0 {
		dirfd = int(int32(r.n.args[at.dirfd]))
	}
	name, e := r.text(r.n.args[at.path])
	if e != 0 {
		return e
	}
	dir, base := path.Split(strings.TrimRight(name, "/"))
	if base == "" || base == "." || base == ".." {
		return unix.EEXIST
	}
	if dir == "" {
		dir = "."
	}
	parent, e := r.walk(dirfd, dir, unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer sys.Close(parent)
	if !sameFS(parent) {
		return unix.EPERM
	}
	mode, dev := uint32(r.n.args[at.mode]), uint32(r.n.args[at.dev])
	fd, e := sys.Open(parent, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	mode &^= r.umask()
	if e := sys.SetXattr(fd, "", dialect.MknodXattr, []byte(fmt.Sprintf("%o:%d", mode, dev)), 0); e != 0 {
		_ = sys.Unlink(parent, base)
		return unix.EPERM
	}
	return 0
}

func sameFS(fd int) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat("/", &b) == nil && a.Dev == b.Dev
}

// umask is the caller's.
func (r *request) umask() uint32 {
	text, err := os.ReadFile(r.proc("status"))
	if err != nil {
		return 0o022
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Umask:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(v), 8, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return 0o022
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}
