package container

import (
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
	"github.com/plyfs/plyfs/container/steps"
	"github.com/plyfs/plyfs/fs/fail"
)

// What the list of a quick init is made of: each of these is the likeness of a
// function of initProcess, or of a call of the library.

// sends is the call that sends a message.
func (q *quickInit) sends(to int, m message, fds ...int) (nr uintptr, socket, what, flags any) {
	text := pack(m.packed)
	iov := &unix.Iovec{Base: unsafe.SliceData(text)}
	iov.SetLen(len(text))
	hdr := &unix.Msghdr{Iov: iov}
	hdr.SetIovlen(1)
	if len(fds) > 0 {
		oob := unix.UnixRights(fds...)
		hdr.Control = unsafe.SliceData(oob)
		hdr.SetControllen(len(oob))
	}
	return unix.SYS_SENDMSG, to, unsafe.Pointer(hdr), unix.MSG_NOSIGNAL
}

func (q *quickInit) close(fd any) { q.Call(unix.SYS_CLOSE, fd) }

// moveTo gives the result fd a number.
func (q *quickInit) moveTo(fd steps.Result, number int) {
	q.Call(unix.SYS_DUP3, fd, number, unix.O_CLOEXEC)
	q.close(fd)
}

func (q *quickInit) open(name string, flags int) *steps.Step {
	return q.Call(unix.SYS_OPENAT, unix.AT_FDCWD, name, flags|unix.O_CLOEXEC, 0)
}

func (q *quickInit) mount(flags int) {
	q.Call(unix.SYS_MOUNT, "", "/", "", flags, 0)
}

// openIn is inroot.Open, in the root; openPlain allows no symbolic link.
func (q *quickInit) openIn(name string, flags int) *steps.Step { return q.openHow(name, flags, 0) }

func (q *quickInit) openPlain(name string, flags int) *steps.Step {
	return q.openHow(name, flags, unix.RESOLVE_NO_SYMLINKS)
}

func (q *quickInit) openHow(name string, flags int, more uint64) *steps.Step {
	name, how := inroot.Call(name, flags)
	how.Resolve |= more
	return q.Call(unix.SYS_OPENAT2, q.root, name, unsafe.Pointer(how), int(unsafe.Sizeof(*how)))
}

// placeAt opens a directory at the top of the root, or makes it.
func (q *quickInit) placeAt(dir string) {
	try := q.openPlain(dir, unix.O_PATH|unix.O_DIRECTORY)
	try.Into(q.to)
	missing := try.Else(unix.ENOENT)
	there := q.Jump()
	missing.Here()
	q.Call(unix.SYS_MKDIRAT, q.root, path.Base(dir), 0o755)
	q.openPlain(dir, unix.O_PATH|unix.O_DIRECTORY).Into(q.to)
	there.Here()
}

// newMount makes a filesystem, as fd; the steps that it gives may fail.
func (q *quickInit) newMount(fsType string, attrs int, options ...string) (create, mount *steps.Step) {
	q.Call(unix.SYS_FSOPEN, fsType, unix.FSOPEN_CLOEXEC).Into(q.ctx)
	for _, o := range append(options, "source="+fsType) {
		if key, value, ok := strings.Cut(o, "="); ok {
			q.Call(unix.SYS_FSCONFIG, q.ctx, unix.FSCONFIG_SET_STRING, key, value, 0)
		} else {
			q.Call(unix.SYS_FSCONFIG, q.ctx, unix.FSCONFIG_SET_FLAG, key, 0, 0)
		}
	}
	create = q.Call(unix.SYS_FSCONFIG, q.ctx, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)
	mount = q.Call(unix.SYS_FSMOUNT, q.ctx, unix.FSMOUNT_CLOEXEC, attrs)
	mount.Into(q.fd)
	q.close(q.ctx)
	return create, mount
}

// attach mounts fd on to, and closes that.
func (q *quickInit) attach() {
	q.Call(unix.SYS_MOVE_MOUNT, q.fd, "", q.to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	q.close(q.to)
}

// mountAt makes a filesystem and mounts it at the top of the root.
func (q *quickInit) mountAt(dir, fsType string, attrs int, options ...string) {
	q.newMount(fsType, attrs, options...)
	q.placeAt(dir)
	q.attach()
}

func (q *quickInit) setFlags(fd steps.Result, attrs uint64, recursive bool) {
	flags := unix.AT_EMPTY_PATH
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	a := &unix.MountAttr{Attr_set: attrs}
	q.Call(unix.SYS_MOUNT_SETATTR, fd, "", flags, unsafe.Pointer(a), int(unsafe.Sizeof(*a)))
}

func (q *quickInit) clone(at any, name string, more int) {
	q.Call(unix.SYS_OPEN_TREE, at, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|more).Into(q.fd)
}

// statx is of a descriptor, or of a name.
func (q *quickInit) statx(fd any, name string, flags, mask int, to *unix.Statx_t) {
	q.Call(unix.SYS_STATX, fd, name, flags, mask, unsafe.Pointer(to))
}

// isKind goes on where what was looked at last is of a kind.
func (q *quickInit) isKind(kind uint32) *steps.Step {
	return q.Check(unsafe.Pointer(&q.st.Mode), unix.S_IFMT, kind) // followed by unused bytes
}

// device makes fd a clone of one of the host's nodes.
func (q *quickInit) device(name string, major, minor uint32) {
	q.clone(unix.AT_FDCWD, "/dev/"+name, unix.AT_SYMLINK_NOFOLLOW)
	q.statx(q.fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, q.st)
	q.isKind(unix.S_IFCHR)
	q.Check(unsafe.Pointer(&q.st.Rdev_major), ^uint32(0), major)
	q.Check(unsafe.Pointer(&q.st.Rdev_minor), ^uint32(0), minor)
}

// touch opens a file of /etc in the root, or makes it.
func (q *quickInit) touch(name string) {
	try := q.openIn(name, unix.O_PATH)
	try.Into(q.to)
	missing := try.Else(unix.ENOENT)
	there := q.Jump()
	missing.Here()
	q.placeAt(path.Dir(name))
	base := path.Base(name)
	q.Call(unix.SYS_OPENAT, q.to, base, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0o644).Into(q.ctx)
	q.close(q.ctx)
	q.Call(unix.SYS_OPENAT, q.to, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).Into(q.ctx)
	q.close(q.to)
	q.Copy(q.ctx).Into(q.to)
	there.Here()
}

// point is a failpoint of init, of which only the death can be had.
func (q *quickInit) point(name string) {
	if fail.Kills(name) {
		q.Call(unix.SYS_EXIT_GROUP, 128+int(unix.SIGKILL)) // process 1 can't be killed from within
	}
}
