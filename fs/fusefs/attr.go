package fusefs

import (
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// timeout is how long the kernel may believe an answer.
type timeout struct {
	sec  uint64
	nsec uint32
}

// forever is longer than any uptime; the kernel clamps it to what it can count.
const forever = 1 << 32

func makeTimeout(d time.Duration) timeout {
	d = max(d, 0)
	return timeout{sec: uint64(d / time.Second), nsec: uint32(d % time.Second)}
}

// zero says that the answer must not be cached at all.
func (t timeout) zero() bool { return t.sec == 0 && t.nsec == 0 }

// putAttr writes a in the form of the protocol.
func putAttr(o *fuse.Attr, a *union.Attr) {
	o.Ino = a.Ino
	o.Size = a.Size
	o.Blocks = a.Blocks
	o.Atime, o.Atimensec = uint64(a.Atime.Sec), a.Atime.Nsec
	o.Mtime, o.Mtimensec = uint64(a.Mtime.Sec), a.Mtime.Nsec
	o.Ctime, o.Ctimensec = uint64(a.Ctime.Sec), a.Ctime.Nsec
	o.Mode = a.Mode
	o.Nlink = a.Nlink
	o.Uid, o.Gid = a.UID, a.GID
	o.Rdev = a.Rdev
	o.Blksize = a.Blksize
	o.Flags = 0
}

// putEntry writes e. The generation is 0: ids are never used twice, they
// carry their own.
func (s *settings) putEntry(o *fuse.EntryOut, e *union.Entry) {
	o.NodeId = uint64(e.Node)
	o.Generation = 0
	o.EntryValid, o.EntryValidNsec = s.entry.sec, s.entry.nsec
	if !e.Attr.Unsettled {
		o.AttrValid, o.AttrValidNsec = s.attr.sec, s.attr.nsec
	}
	putAttr(&o.Attr, &e.Attr)
}

// replyEntry answers with w.entry, unless e says that there is none.
func (w *worker) replyEntry(e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	w.counted = w.entry.Node
	o, n := reply[fuse.EntryOut](w)
	w.set.putEntry(o, &w.entry)
	return n, 0
}

// replyAttr answers with w.attr.
func (w *worker) replyAttr(e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	o, n := reply[fuse.AttrOut](w)
	if !w.attr.Unsettled {
		o.AttrValid, o.AttrValidNsec = w.set.attr.sec, w.set.attr.nsec
	}
	putAttr(&o.Attr, &w.attr)
	return n, 0
}

func (w *worker) lookup() (int, syscall.Errno) {
	w.entry = union.Entry{}
	e := w.s.tree.Lookup(w.node(), w.name, &w.entry)
	w.place.Answer(w.entry.Attr.Asked)
	if e == syscall.ENOENT && !w.set.negative.zero() {
		// Node 0 is "no such name", to be believed for as long as the
		// entry is valid.
		o, n := reply[fuse.EntryOut](w)
		o.EntryValid, o.EntryValidNsec = w.set.negative.sec, w.set.negative.nsec
		w.note.absent = true
		return n, 0
	}
	return w.replyEntry(e)
}

func (w *worker) forget() (int, syscall.Errno) {
	w.s.tree.Forget(w.node(), as[fuse.ForgetIn](w).Nlookup)
	return 0, 0
}

// forgetOne is an entry of BATCH_FORGET.
type forgetOne struct {
	node, nlookup uint64
}

// batchForgetIn is the request of BATCH_FORGET.
type batchForgetIn struct {
	fuse.InHeader
	count, _ uint32
}

func (w *worker) batchForget() (int, syscall.Errno) {
	const size = 16
	n := int(min(uint64(as[batchForgetIn](w).count), uint64(len(w.rest)/size)))
	for i := range n {
		f := at[forgetOne](w.rest[i*size:])
		w.s.tree.Forget(node.ID(f.node), f.nlookup)
	}
	return 0, 0
}

func (w *worker) getattr() (int, syscall.Errno) {
	w.attr = union.Attr{}
	e := w.s.tree.GetAttr(w.node(), &w.attr)
	w.place.Answer(w.attr.Asked)
	return w.replyAttr(e)
}

// The bits of SETATTR that carry no change: a file handle and a lock owner.
const setattrNoise = fuse.FATTR_FH | fuse.FATTR_LOCKOWNER

// setattrSlow: a change of a lower file copies it up, so it leaves the reader.
// A SETATTR that changes nothing is legal and comes before a write to a setuid
// file. One that tells the kernel's own idea of the time comes after every unlink,
// link and rename: if that is no news, it isn't worth a goroutine.
func setattrSlow(w *worker) bool {
	in := as[fuse.SetAttrIn](w)
	v := in.Valid &^ setattrNoise
	if v == 0 || !notUpper(w) {
		return false
	}
	if v&^fuse.FATTR_CTIME == fuse.FATTR_MTIME {
		w.attr = union.Attr{}
		w.known = w.s.tree.GetAttr(w.node(), &w.attr) == 0 && w.attr.Mtime == union.Time{Sec: int64(in.Mtime), Nsec: in.Mtimensec}
	}
	return !w.known
}

func (w *worker) setattr() (int, syscall.Errno) {
	if w.known {
		return w.replyAttr(0)
	}
	in := as[fuse.SetAttrIn](w)
	w.change = union.AttrChange{
		Valid: setattrValid(in.Valid),
		Mode:  in.Mode & 0o7777,
		UID:   in.Uid,
		GID:   in.Gid,
		Size:  in.Size,
		Atime: union.Time{Sec: int64(in.Atime), Nsec: in.Atimensec},
		Mtime: union.Time{Sec: int64(in.Mtime), Nsec: in.Mtimensec},
	}
	w.attr = union.Attr{}
	return w.replyAttr(w.s.tree.SetAttr(w.who(0), w.node(), &w.change, &w.attr))
}

// setattrBits maps FATTR_* to the bits of union.AttrChange. "Now" comes with
// both bits set: the kernel sends its own idea of now in the time field.
var setattrBits = [...]struct{ fuse, union uint32 }{
	{fuse.FATTR_MODE, union.SetMode},
	{fuse.FATTR_UID, union.SetUID},
	{fuse.FATTR_GID, union.SetGID},
	{fuse.FATTR_SIZE, union.SetSize},
	{fuse.FATTR_ATIME, union.SetAtime},
	{fuse.FATTR_MTIME, union.SetMtime},
	{fuse.FATTR_ATIME_NOW, union.SetAtimeNow},
	{fuse.FATTR_MTIME_NOW, union.SetMtimeNow},
	{fuse.FATTR_CTIME, union.SetCtime},
	{fuse.FATTR_KILL_SUIDGID, union.KillSuidgid},
}

func setattrValid(valid uint32) (v uint32) {
	for _, b := range &setattrBits {
		if valid&b.fuse != 0 {
			v |= b.union
		}
	}
	return v
}

// statx is asked by programs that want the time of birth; the rest is the same
// as GETATTR.
func (w *worker) statx() (int, syscall.Errno) {
	w.attr = union.Attr{}
	a := &w.attr
	if e := w.s.tree.Statx(w.node(), a); e != 0 {
		return 0, e
	}
	o, n := reply[fuse.StatxOut](w)
	if !a.Unsettled {
		o.AttrValid, o.AttrValidNsec = w.set.attr.sec, w.set.attr.nsec
	}
	o.Mask = unix.STATX_BASIC_STATS
	o.Blksize = a.Blksize
	o.Nlink = a.Nlink
	o.Uid, o.Gid = a.UID, a.GID
	o.Mode = uint16(a.Mode)
	o.Ino, o.Size, o.Blocks = a.Ino, a.Size, a.Blocks
	putTime(&o.Atime, a.Atime)
	putTime(&o.Mtime, a.Mtime)
	putTime(&o.Ctime, a.Ctime)
	if a.HasBtime {
		o.Mask |= unix.STATX_BTIME
		putTime(&o.Btime, a.Btime)
	}
	// new_decode_dev()
	o.RdevMajor = a.Rdev >> 8 & 0xfff
	o.RdevMinor = a.Rdev&0xff | a.Rdev>>12&0xfff00
	return n, 0
}

func putTime(o *fuse.SxTime, t union.Time) {
	o.Sec, o.Nsec = uint64(t.Sec), t.Nsec
}
