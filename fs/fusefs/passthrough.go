package fusefs

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/fs/union"
)

// passFlags replace the writeback cache where files are handed to the kernel:
// the two exclude each other. A truncation comes with its OPEN, which then copies
// no data up; without a message for each open it would be lost.
const passFlags = fuse.CAP_PASSTHROUGH | fuse.CAP_ATOMIC_O_TRUNC

// wantsPassthrough says whether this server is to hand files to the kernel, and if
// it was asked to and can't, why not.
func wantsPassthrough(o *layer.Options, c *Config) (bool, error) {
	switch {
	case o.IO != layer.IOPassthrough:
		return false, nil
	case o.Live:
		return false, errors.New("the lower layers are live")
	case c.UserNS || sys.InUserNamespace() || !sys.HasCapability(unix.CAP_SYS_ADMIN):
		return false, errors.New("it takes root of the machine")
	}
	return true, nil
}

// errNoPassthrough is what an offer without it means.
var errNoPassthrough = errors.New("the kernel doesn't offer it (Linux 6.9 and CONFIG_FUSE_PASSTHROUGH)")

// The ioctls of /dev/fuse (include/uapi/linux/fuse.h).
const (
	backingOpen  = 0x4010e501
	backingClose = 0x4004e502
)

// Register is part of union.Backing. The kernel writes to the file with the rights
// that we have now: without CAP_FSETID, so that it takes setuid and setgid off a
// file that got them while it was open for writing.
func (d fdDevice) Register(fd int) (int32, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return 0, syscall.EPERM
	}
	less := caps
	less[0].Effective &^= 1 << unix.CAP_FSETID
	if err := unix.Capset(&hdr, &less[0]); err != nil {
		return 0, syscall.EPERM
	}
	defer func() {
		if err := unix.Capset(&hdr, &caps[0]); err != nil {
			panic("fusefs: a capability that was laid down can't be taken up again: " + err.Error())
		}
	}()
	m := fuse.BackingMap{Fd: int32(fd)}
	id, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(d), backingOpen, uintptr(unsafe.Pointer(&m)))
	return int32(id), e
}

// Unregister is part of union.Backing.
func (d fdDevice) Unregister(id int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(d), backingClose, uintptr(unsafe.Pointer(&id)))
}

var _ union.Backing = fdDevice(0)

// openSlow: an open for writing copies a lower file up.
func openSlow(w *worker) bool {
	if !w.set.passes {
		return false
	}
	in := as[fuse.OpenIn](w)
	return in.Flags&(syscall.O_ACCMODE|syscall.O_TRUNC) != 0 && notUpper(w)
}

// openFile serves OPEN where files are opened with a message.
func (w *worker) openFile() (int, syscall.Errno) {
	in := as[fuse.OpenIn](w)
	var kill *union.Caller
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		kill = w.who(0)
	}
	w.opened = union.Opened{}
	id := w.node()
	if e := w.s.tree.Open(id, in.Flags, kill, &w.opened); e != 0 {
		return 0, e
	}
	w.openID = id
	o, n := reply[fuse.OpenOut](w)
	w.putOpened(o)
	if w.opened.Unsaid {
		go w.s.forgetAttr(id)
	}
	return n, 0
}

// putOpened says how a file is open.
func (w *worker) putOpened(o *fuse.OpenOut) {
	o.Fh = w.opened.Handle
	switch {
	case w.opened.Passed:
		o.OpenFlags, o.BackingID = fuse.FOPEN_PASSTHROUGH, w.opened.Backing
	case w.opened.Keep:
		o.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
}

// openCreated opens the file that w.entry is of. If that fails the file is there
// all the same, as after a CREATE that was interrupted.
func (w *worker) openCreated(flags uint32) syscall.Errno {
	w.opened = union.Opened{}
	if !w.set.passes {
		w.opened.Keep = true
		return 0
	}
	if e := w.s.tree.OpenNew(&w.entry, flags, &w.opened); e != 0 {
		w.s.tree.Forget(w.entry.Node, 1)
		return e
	}
	w.openID = w.entry.Node
	return 0
}

// release serves RELEASE.
func (w *worker) release() (int, syscall.Errno) {
	if w.set.passes {
		w.s.tree.Release(w.node(), at[uint64Body](w.in[inHeaderSize:]).value)
	}
	return 0, 0
}

type uint64Body struct{ value uint64 }

// forgetAttr has the kernel ask for attributes anew. It is no request's business:
// it runs on a goroutine of its own.
func (s *Server) forgetAttr(id node.ID) {
	var p struct {
		fuse.OutHeader
		ino      uint64
		off, len int64
	}
	const invalInode = 2 // FUSE_NOTIFY_INVAL_INODE
	p.Length, p.Status = uint32(unsafe.Sizeof(p)), invalInode
	p.ino, p.off = uint64(id), -1                                                // no data
	_ = s.dev.write(unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))) // ENOENT: it has forgotten the node
}

// follow turns the request to the node that answers for the one that it names.
func (w *worker) follow() {
	switch w.op {
	case &ops[opOpen], &ops[opRelease], &ops[opForget], &ops[opBatchForget], &ops[opInterrupt]:
		return
	case &ops[opLink]:
		in := as[fuse.LinkIn](w)
		in.Oldnodeid = uint64(w.s.tree.Follow(node.ID(in.Oldnodeid)))
	}
	h := w.header()
	h.NodeId = uint64(w.s.tree.Follow(node.ID(h.NodeId)))
}
