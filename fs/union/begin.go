package union

import (
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
)

// beginCopyUp writes down that a copy is about to be put in place.
func (fs *FS) beginCopyUp(id node.ID, parent uint32, name string, c *copied) *intent {
	if fs.mem == nil {
		return nil
	}
	k := fs.lowerLink(&c.st)
	in := intent{
		kind: intentCopyUp, id: id, parent: fs.t.ID(parent), ino: c.upIno,
		lowLayer: uint32(k.Layer), lowIno: k.Ino, nlink: uint32(c.st.Nlink),
	}
	if c.metaOnly {
		in.flags |= copyMeta
	}
	if c.origin == nil && c.private == nil {
		in.flags |= copyNoNote
	}
	return fs.mem.begin(&in, name, "")
}

// beginRename writes down that a name is about to be moved. Preconditions as
// move.
func (fs *FS) beginRename(a, b *side, flags uint32) *intent {
	if fs.mem == nil {
		return nil
	}
	r := fs.t.Rec(a.id.Index())
	in := intent{
		kind: intentRename, flags: flags, ino: r.Key, delta: r.Delta,
		parent: fs.t.ID(a.d.i), parent2: fs.t.ID(b.d.i), id: a.id, id2: b.id,
	}
	if a.ent.HasLower() {
		in.flags |= whiteout
	}
	if fs.primary(r, a.d.i, a.name) {
		in.flags |= first
	}
	if b.ent != nil && b.ent.Upper != index.None {
		in.flags |= wasUpper2
	}
	if b.id != node.None {
		in.delta2 = fs.t.Rec(b.id.Index()).Delta
		if fs.primary(fs.t.Rec(b.id.Index()), b.d.i, b.name) {
			in.flags |= first2
		}
	}
	return fs.mem.begin(&in, a.name, b.name)
}

// beginRemove writes down that a name is about to go.
func (fs *FS) beginRemove(kind uint32, d *dir, name string, id node.ID, hide, upper bool) *intent {
	if fs.mem == nil {
		return nil
	}
	in := intent{kind: kind, parent: fs.t.ID(d.i), id: id}
	if hide {
		in.flags |= whiteout
	}
	if upper {
		in.flags |= wasUpper
	}
	if id != node.None {
		in.delta = fs.t.Rec(id.Index()).Delta
	}
	return fs.mem.begin(&in, name, "")
}
