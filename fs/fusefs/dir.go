package fusefs

import (
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// dirent is what stands in front of a name in a listing.
type dirent struct {
	ino, off     uint64
	namelen, typ uint32
}

const (
	direntSize = int(unsafe.Sizeof(dirent{}))
	entrySize  = int(unsafe.Sizeof(fuse.EntryOut{}))
)

// dirSink puts directory entries into a reply. It is the union.DirSink of one
// request, a part of its worker.
type dirSink struct {
	set   *settings
	place *meter.Place
	buf   []byte // the room that the kernel gave
	used  int
	// dropped has nodes that were looked up for an entry that then did
	// not fit: only a tree that didn't ask Room gets here.
	dropped []node.ID
}

// align is FUSE_DIRENT_ALIGN.
func align(n int) int { return (n + 7) &^ 7 }

// Add is part of union.DirSink.
func (d *dirSink) Add(name string, ino uint64, typ uint32, next uint64) bool {
	size := align(direntSize + len(name))
	if size > len(d.buf)-d.used {
		return false
	}
	d.put(d.buf[d.used:d.used+size], name, ino, typ, next)
	d.used += size
	return true
}

// Room is part of union.DirSink.
func (d *dirSink) Room(name string) bool {
	return align(entrySize+direntSize+len(name)) <= len(d.buf)-d.used
}

// AddPlus is part of union.DirSink.
func (d *dirSink) AddPlus(name string, e *union.Entry, ino uint64, typ uint32, next uint64) {
	if !d.Room(name) {
		if e.Node != node.None {
			d.dropped = append(d.dropped, e.Node)
		}
		return
	}
	size := align(entrySize + direntSize + len(name))
	p := d.buf[d.used : d.used+size]
	o := at[fuse.EntryOut](p)
	if e.Node == node.None {
		*o = fuse.EntryOut{} // the kernel will ask when it wants to know
	} else {
		d.set.putEntry(o, e)
		d.place.Answer(e.Attr.Asked)
	}
	d.put(p[entrySize:], name, ino, typ, next)
	d.used += size
}

// put writes a dirent, its name and zeros up to the end of p.
func (d *dirSink) put(p []byte, name string, ino uint64, typ uint32, next uint64) {
	*at[dirent](p) = dirent{ino: ino, off: next, namelen: uint32(len(name)), typ: typ}
	clear(p[direntSize+copy(p[direntSize:], name):])
}

// forgetAll takes back every look-up of a READDIRPLUS reply that didn't arrive.
func (d *dirSink) forgetAll(t Tree) {
	for off := 0; off < d.used; {
		o := at[fuse.EntryOut](d.buf[off:])
		if o.NodeId != 0 {
			t.Forget(node.ID(o.NodeId), 1)
		}
		off += align(entrySize + direntSize + int(at[dirent](d.buf[off+entrySize:]).namelen))
	}
}

// readdir serves READDIR and READDIRPLUS.
func (w *worker) readdir() (int, syscall.Errno) {
	in := as[fuse.ReadIn](w)
	if int64(in.Offset) < 0 {
		return 0, syscall.EINVAL // no position in a directory is
	}
	p := w.payload()
	d := &w.dir
	d.set, d.place, d.used = w.set, &w.place, 0
	d.buf = p[:min(uint64(in.Size), uint64(len(p)))]
	e := w.s.tree.ReadDir(w.node(), in.Offset, w.op == &ops[opReaddirplus], d)
	for _, id := range d.dropped {
		w.s.tree.Forget(id, 1)
	}
	d.dropped = nil
	// Entries that were counted must reach the kernel; the error comes
	// again when it goes on from there.
	if d.used > 0 {
		e = 0
	}
	return d.used, e
}
