package fusefs

import (
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// rememberer is a Tree that knows what the process before it has done.
type rememberer interface {
	WasDone(c *union.Change) bool
}

var _ rememberer = (*union.FS)(nil)

// notifyResend is FUSE_NOTIFY_RESEND.
const notifyResend = 7

// resendAll asks the kernel (6.9 and later) for every request that was read and
// not answered.
func (s *Server) resendAll() {
	if set := s.set.Load(); set == nil || !set.session.Resends() {
		return
	}
	h := fuse.OutHeader{Length: uint32(outHeaderSize), Status: notifyResend}
	if e := s.dev.write(unsafe.Slice((*byte)(unsafe.Pointer(&h)), outHeaderSize)); e != 0 {
		s.log.Printf("fuse: the kernel does not send again what the server before had begun: %v", e)
	}
}

// Resends says whether the kernel sends again what was in flight.
func (sess *Session) Resends() bool {
	return len(sess.InitOut) > outHeaderSize && sess.flags()&fuse.CAP_HAS_RESEND != 0
}

// began notes that the request is being handled.
func (w *worker) began() {
	w.seat.Store(w.header().Unique &^ resent)
	w.s.cfg.Flight.page.taken.Add(1)
}

// again serves a request that an earlier server had read, which may have done
// it. done is false when it is to be handled like any other.
func (w *worker) again() (n int, e syscall.Errno, done bool) {
	if f := w.s.cfg.Flight; f != nil && f.poisoned(w.header().Unique) {
		w.s.log.Printf("fuse: %s of node %d is answered with an error: servers died on it", w.op.name, w.header().NodeId)
		return 0, syscall.EIO, true
	}
	switch w.header().Opcode {
	case opSetxattr:
		// With XATTR_CREATE it would find what it has made itself.
		flags := at[uint32](w.in[inHeaderSize+4:])
		*flags &^= unix.XATTR_CREATE
		return 0, 0, false
	case opRemovexattr:
		if n, e = w.op.run(w); e == syscall.ENODATA {
			e = 0
		}
		return n, e, true
	}
	tree, ok := w.s.tree.(rememberer)
	if !ok {
		return 0, 0, false
	}
	c := union.Change{Parent: w.node(), Name: w.name}
	switch w.header().Opcode {
	case opMkdir, opMknod, opCreate, opSymlink:
		c.Kind = union.ChangeMake
	case opUnlink:
		c.Kind = union.ChangeUnlink
	case opRmdir:
		c.Kind = union.ChangeRmdir
	case opLink:
		c.Kind = union.ChangeLink
	case opRename, opRename2:
		c.Kind, c.Name2 = union.ChangeRename, w.name2
		c.Parent2 = node.ID(*at[uint64](w.in[inHeaderSize:]))
	default:
		return 0, 0, false
	}
	if !tree.WasDone(&c) {
		return 0, 0, false
	}
	switch c.Kind {
	case union.ChangeUnlink, union.ChangeRmdir, union.ChangeRename:
		return 0, 0, true
	}
	w.entry = union.Entry{}
	e = w.s.tree.Lookup(c.Parent, c.Name, &w.entry)
	if w.header().Opcode == opCreate {
		n, e = w.replyCreated(as[fuse.CreateIn](w).Flags, e)
	} else {
		n, e = w.replyEntry(e)
	}
	return n, e, true
}
