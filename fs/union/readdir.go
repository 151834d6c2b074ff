package union

import (
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// The offsets of "." and "..": names have greater ones.
const (
	offDot    = 1
	offDotDot = 2
)

// entries are those that ReadDir hands to a sink: what goes through an interface
// would be garbage else.
var entries = sync.Pool{New: func() any { return new(Entry) }}

// ReadDir gives the entries after the offset off to sink until it takes no
// more. Offsets depend on names alone: they stay good while the directory
// changes, and across remounts. With plus each entry is looked up and counted.
func (fs *FS) ReadDir(id node.ID, off uint64, plus bool, sink DirSink) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, e := fs.rlockDir(id)
	if e != 0 {
		return e
	}
	if d.gone {
		d.mu.RUnlock()
		return unix.ENOENT
	}
	for !d.ix.Sorted() {
		d.mu.RUnlock()
		if e := fs.lock(d); e != 0 {
			return e
		}
		d.ix.Sort()
		d.mu.Unlock()
		if e := fs.rlock(d); e != 0 {
			return e
		}
	}
	defer d.mu.RUnlock()
	r := fs.t.Rec(d.i)
	entry := entries.Get().(*Entry)
	defer entries.Put(entry)
	*entry = Entry{}
	if off < offDot && !dot(sink, plus, ".", entry, r.Ino, offDot) {
		return 0
	}
	if off < offDotDot {
		up := r.Ino
		if id != node.Root {
			up = fs.t.Rec(r.Parent()).Ino
		}
		if !dot(sink, plus, "..", entry, up, offDotDot) {
			return 0
		}
	}
	d.ix.Walk(off, func(ent *index.Entry, name string, next uint64) bool {
		if !plus {
			return sink.Add(name, ent.Ino, uint32(ent.Type()), next)
		}
		if !sink.Room(name) {
			return false
		}
		typ, ino := uint32(ent.Type()), ent.Ino
		if fs.lookupLocked(d, name, entry) != 0 {
			// It is listed but can't be looked at: let the client meet the
			// error when it asks for it.
			*entry = Entry{}
		}
		sink.AddPlus(name, entry, ino, typ, next)
		return true
	})
	return 0
}

func dot(sink DirSink, plus bool, name string, e *Entry, ino, next uint64) bool {
	if !plus {
		return sink.Add(name, ino, unix.DT_DIR, next)
	}
	if !sink.Room(name) {
		return false
	}
	sink.AddPlus(name, e, ino, unix.DT_DIR, next)
	return true
}
