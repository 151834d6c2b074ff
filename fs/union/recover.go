package union

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
)

// finishIntents decides what became of every change that the process before had
// begun, and gives the table what belongs to those that were done. No request is
// served yet, and no lock is needed.
func (fs *FS) finishIntents() {
	t := &fs.mem.intents
	var order []*intent
	for i := range t.slots {
		in := &t.slots[i]
		switch {
		case in.state == intentFree:
		case in.kind == intentNone || in.kind > intentCopyUp || in.len > 255 || in.len2 > 255:
			in.state = intentFree // damaged
			t.free = append(t.free, in)
		default:
			order = append(order, in)
		}
	}
	slices.SortFunc(order, func(a, b *intent) int { return int(int64(a.seq - b.seq)) })
	for _, in := range order {
		if in.kind != intentCopyUp {
			t.of[in.parent] = in
			if in.parent2 != node.None {
				t.of[in.parent2] = in
			}
		}
		if in.state == intentBegun {
			fs.mem.done(in, !fs.finish(in))
		}
	}
}

// finish says whether the change was made on disk, and finishes it then.
func (fs *FS) finish(in *intent) bool {
	switch in.kind {
	case intentMake:
		return fs.upperAt(in.parent, in.name()).object
	case intentUnlink, intentRmdir:
		return fs.finishRemove(in)
	case intentRename:
		return fs.finishRename(in)
	case intentLink:
		return fs.finishLink(in)
	case intentCopyUp:
		return fs.finishCopyUp(in)
	}
	return false
}

// placed is what the upper layer has at a name.
type placed struct {
	object, whiteout bool
	ino              uint64
	known            bool // the directory is there
}

func (fs *FS) upperAt(parent node.ID, name string) (p placed) {
	r := fs.t.Get(parent)
	if r == nil || !r.Has(node.Dir|node.Upper) {
		return p
	}
	d, e := fs.dirFD(parent.Index(), 0)
	if e != 0 {
		return p
	}
	defer d.release()
	p.known = true
	var st sys.Stat
	switch e := sys.StatAt(d.fd, name, &st); {
	case e == 0 && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0,
		e == 0 && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0 && fs.isXattrWhiteout(d.fd, name):
		p.whiteout = true
	case e == 0:
		p.object, p.ino = true, st.Ino
	default:
		p.whiteout = sys.Exists(d.fd, ".wh."+name)
	}
	return p
}

// finishRemove is finish for unlink and rmdir.
func (fs *FS) finishRemove(in *intent) bool {
	p := fs.upperAt(in.parent, in.name())
	if !p.known || p.object || in.flags&wasUpper == 0 && !p.whiteout {
		return false
	}
	fs.hideBelow(in, p)
	fs.bury(in.id, in.parent, in.name(), in.flags&wasUpper != 0, in.delta)
	return true
}

// hideBelow puts a whiteout where one is still missing.
func (fs *FS) hideBelow(in *intent, p placed) {
	if in.flags&whiteout == 0 || p.whiteout || p.object {
		return
	}
	if d, e := fs.dirFD(in.parent.Index(), 0); e == 0 {
		_ = fs.putWhiteout(fs.dirs.get(in.parent.Index()), d.fd, in.name())
		d.release()
	}
}

// bury notes that a node has lost a name; delta is what its Delta was before.
func (fs *FS) bury(id, parent node.ID, name string, upper bool, delta int32) {
	r := fs.t.Get(id)
	if r == nil {
		return
	}
	i := id.Index()
	if r.Has(node.Dir) {
		if !r.Has(node.Dead) {
			fs.t.Unhash(i)
			r.Set(node.Dead)
		}
		fs.dirs.bury(i)
		return
	}
	r.Delta = delta
	if !r.Has(node.Orphan) && sys.Exists(fs.work.tmp, orphanName(id)) {
		r.Set(node.Orphan)
	}
	fs.unnamed(id, parent.Index(), name, upper)
}

// finishRename is finish for both forms of a rename.
func (fs *FS) finishRename(in *intent) bool {
	r := fs.t.Get(in.id)
	to := fs.upperAt(in.parent2, in.name2())
	if r == nil || !to.object || to.ino != in.ino {
		return false
	}
	if in.flags&exchanged != 0 {
		other := fs.t.Get(in.id2)
		if other != nil && in.flags&first2 != 0 {
			fs.t.Unhash(in.id2.Index())
		}
		fs.put(in.id, r, in.flags&first != 0, in.parent2, in.name2(), node.None)
		fs.put(in.id2, other, in.flags&first2 != 0, in.parent, in.name(), node.None)
		return true
	}
	if in.id2 != node.None {
		fs.bury(in.id2, in.parent2, in.name2(), in.flags&wasUpper2 != 0, in.delta2)
	}
	fs.put(in.id, r, in.flags&first != 0, in.parent2, in.name2(), in.id2)
	from := fs.upperAt(in.parent, in.name())
	fs.hideBelow(in, from)
	if in.flags&whiteout == 0 && from.whiteout {
		// A directory was exchanged with the whiteout that was at its new name.
		if d, e := fs.dirFD(in.parent.Index(), 0); e == 0 {
			_ = fs.dropWhiteout(d.fd, in.name())
			d.release()
		}
	}
	return true
}

// put gives a node its new place, if it is found by the name that was moved.
func (fs *FS) put(id node.ID, r *node.Rec, first bool, parent node.ID, name string, gone node.ID) {
	if r == nil || !first || fs.t.Get(parent) == nil {
		return
	}
	r.Clear(node.Dead)
	_ = fs.t.Move(id.Index(), parent.Index(), strings.Clone(name), gone.Index())
}

// finishLink is finish for link.
func (fs *FS) finishLink(in *intent) bool {
	r := fs.t.Get(in.id)
	p := fs.upperAt(in.parent, in.name())
	if r == nil || !p.object || p.ino != r.Key {
		return false
	}
	fs.t.AddLink(in.id.Index(), node.Link{Ino: r.Key})
	if r.Has(node.Dead) {
		_ = fs.adopt(in.id.Index(), r, fs.dirs.get(in.parent.Index()), in.name())
	}
	return true
}

// assign sets a field whose size differs between machines.
func assign[T, V uint32 | uint64](p *T, v V) { *p = T(v) }

// finishCopyUp makes a node that was copied up the upper object.
func (fs *FS) finishCopyUp(in *intent) bool {
	r := fs.t.Get(in.id)
	if r == nil || r.Has(node.Upper) {
		return false
	}
	var st sys.Stat
	orphan := r.Has(node.Dead)
	if orphan {
		if sys.StatAt(fs.work.tmp, orphanName(in.id), &st) != 0 || st.Ino != in.ino {
			return false
		}
	} else if p := fs.upperAt(in.parent, in.name()); !p.object || p.ino != in.ino {
		return false
	}
	if n := uint64(in.lowLayer) - 1; n >= uint64(len(fs.inos.systems)) {
		return false // damaged
	}
	c := copied{upIno: in.ino, metaOnly: in.flags&copyMeta != 0, isDir: r.Has(node.Dir)}
	if in.flags&copyNoNote == 0 {
		c.private = []byte{} // it says itself where it came from
	}
	c.st.Ino = in.lowIno
	assign(&c.st.Nlink, in.nlink)
	assign(&c.st.Dev, fs.inos.get(uint16(in.lowLayer)-1).dev)
	fs.switchUp(in.id.Index(), r, &c)
	if orphan {
		r.Set(node.Orphan)
	}
	if in.nlink > 1 && !c.isDir && !fs.live.on {
		if orphan {
			fs.indexLink(in.id.Index(), r, &c, fs.work.tmp, orphanName(in.id))
		} else if d, e := fs.dirFD(in.parent.Index(), 0); e == 0 {
			fs.indexLink(in.id.Index(), r, &c, d.fd, in.name())
			d.release()
		}
	}
	if orphan && !r.Has(node.Indexed) {
		r.Clear(node.Sticky)
		r.Delta = 0
	}
	return true
}
