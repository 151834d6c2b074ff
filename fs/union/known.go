package union

import (
	"strings"
	"sync/atomic"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// What an index file answers of the objects of lower layers, so that no layer
// is asked.

// fileBlock is what a file has of a directory: nil where it has nothing.
type fileBlock struct{ *index.Block }

// inFile is the directory in the base's file; nil when there is no file, or it
// doesn't have it.
func (d *baseDir) inFile() *index.Block {
	f := d.in.file.Load()
	if f == nil {
		return nil
	}
	if b := d.block.Load(); b != nil {
		return b.Block
	}
	var b *index.Block
	var err error
	if d.parent == nil {
		b, err = f.Root()
	} else if up := d.parent.inFile(); up != nil {
		if e := up.Dir.Find(d.name); e != nil {
			if a := up.Attr(e); a != nil {
				b, err = up.Kid(a)
			}
		}
	}
	if err != nil {
		b = nil // what is in there is read from the layers
		d.in.broken.Do(func() { d.in.log("index file: %v; what it doesn't tell is read from the layers", err) })
	}
	d.block.CompareAndSwap(nil, &fileBlock{b})
	return d.block.Load().Block
}

// parts are the lower directories that are merged into this one; nil when that
// isn't known.
func (d *baseDir) parts() *[]below {
	if s := d.stack.Load(); s != nil {
		return s
	}
	b := d.inFile()
	if b == nil {
		return nil
	}
	s := []below{}
	for _, p := range b.Parts() {
		s = append(s, below{layer: p.Layer, xwh: p.XWhiteouts, path: p.Path})
	}
	d.stack.CompareAndSwap(nil, &s)
	return d.stack.Load()
}

// inFile is what a file has of an entry; nil when that is nothing.
func inFile(ix *baseIndex, e *index.Entry) (*index.Block, *index.Attr) {
	if ix == nil || ix.block == nil {
		return nil, nil
	}
	return ix.block, ix.block.Attr(e)
}

// inspectKnown is inspect from an index file; false when that doesn't tell.
func (fs *FS) inspectKnown(d *dir, name string, ent *index.Entry, f *found) bool {
	if ent.Upper != index.None {
		return false
	}
	blk, known := inFile(d.baseEntry(name, ent))
	if known == nil {
		return false
	}
	f.layer = ent.Layer
	fs.statOf(known, f.layer, &f.st)
	fs.fillKnown(&f.attr, &f.st, f.layer, blk, known)
	if known.Flags&index.Meta != 0 {
		f.meta, f.data = true, known.Data
		f.path = strings.Clone(blk.Text(known))
		f.attr.Blocks = known.Rdev
	}
	return true
}

// put stores a number in a field of struct stat, whose types differ between
// machines.
func put[T ~int32 | ~int64 | ~uint32 | ~uint64, V ~int64 | ~uint32 | ~uint64](field *T, v V) {
	*field = T(v)
}

// statOf is the struct stat that the layer would give.
func (fs *FS) statOf(a *index.Attr, layer uint16, st *sys.Stat) {
	st.Ino, st.Size, st.Mode, st.Uid, st.Gid = uint64(a.Ino), a.Size, a.Mode, a.UID, a.GID
	put(&st.Dev, fs.layers[layer].dev)
	put(&st.Nlink, a.Nlink)
	put(&st.Blocks, a.Blocks)
	put(&st.Blksize, a.Blksize)
	put(&st.Atim.Sec, a.AtimeSec)
	put(&st.Atim.Nsec, a.AtimeNsec)
	put(&st.Mtim.Sec, a.MtimeSec)
	put(&st.Mtim.Nsec, a.MtimeNsec)
	put(&st.Ctim.Sec, a.CtimeSec)
	put(&st.Ctim.Nsec, a.CtimeNsec)
	if t := a.Mode & unix.S_IFMT; t == unix.S_IFCHR || t == unix.S_IFBLK {
		put(&st.Rdev, a.Rdev)
	}
}

// attrOf is the record of what a layer gave.
func attrOf(st *sys.Stat, a *index.Attr) {
	*a = index.Attr{
		Ino: int64(st.Ino), Size: st.Size, Blocks: st.Blocks,
		AtimeSec: int64(st.Atim.Sec), MtimeSec: int64(st.Mtim.Sec), CtimeSec: int64(st.Ctim.Sec),
		AtimeNsec: uint32(st.Atim.Nsec), MtimeNsec: uint32(st.Mtim.Nsec), CtimeNsec: uint32(st.Ctim.Nsec),
		Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Blksize: uint32(st.Blksize),
		Flags: index.Known,
	}
	if t := st.Mode & unix.S_IFMT; t == unix.S_IFCHR || t == unix.S_IFBLK {
		a.Rdev = uint64(st.Rdev)
	}
}

// fillKnown is fill with the record of virtual ownership, if there is one, from
// the file.
func (fs *FS) fillKnown(out *Attr, st *sys.Stat, n uint16, blk *index.Block, a *index.Attr) {
	show(out, st)
	if fs.hasOverride(n) && a.Flags&index.Override != 0 {
		applyRecord(out, []byte(blk.Text(a)))
	}
	out.UID, out.GID = fs.ids.uid.show(out.UID), fs.ids.gid.show(out.GID)
}

// nodeInFile is what a file has of a node.
func (fs *FS) nodeInFile(id node.ID, fn func(r *node.Rec, blk *index.Block, a *index.Attr)) {
	if fs.base == nil || fs.base.file.Load() == nil {
		return
	}
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	r := fs.t.Get(id)
	if r == nil {
		return
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	if blk, a := inFile(fs.baseNode(id.Index(), r)); a != nil {
		fn(r, blk, a)
	}
}

// knownTarget is a symbolic link's target; "" when a file doesn't tell.
func (fs *FS) knownTarget(id node.ID) (target string) {
	fs.nodeInFile(id, func(_ *node.Rec, blk *index.Block, a *index.Attr) {
		if a.Flags&index.Target != 0 {
			target = strings.Clone(blk.Text(a))
		}
	})
	return target
}

// knownBare says that a file knows of an object that it has no xattrs.
func (fs *FS) knownBare(id node.ID) (bare bool) {
	fs.nodeInFile(id, func(_ *node.Rec, _ *index.Block, a *index.Attr) {
		bare = a.Flags&index.NoXattrs != 0
	})
	return bare
}

// bareKinds are the namespaces of xattrs whose absence file systems answer in
// their own ways.
const bareKinds = 5

// bareAnswers notes how objects without xattrs answer: regular files,
// directories, symbolic links and the rest, by namespace.
type bareAnswers [4][bareKinds]atomic.Bool

// shareAnswers gives each lower layer its bareAnswers: those on one file system
// that keep xattrs alike have them together.
func (fs *FS) shareAnswers() {
	type kin struct {
		dev  uint64
		name string
	}
	known := map[kin]*bareAnswers{}
	for i := range fs.layers {
		l := &fs.layers[i]
		k := kin{l.dev, l.ovName}
		if known[k] == nil {
			known[k] = new(bareAnswers)
		}
		l.bare = known[k]
	}
}

// bare says, for an object without xattrs, where is noted that such an object
// in this layer answers ENODATA to the name: the first one is asked, since a file
// system may know nothing of the namespace. nil for any other object.
func (fs *FS) bare(i uint32, r *node.Rec, name string) *atomic.Bool {
	_, a := inFile(fs.baseNode(i, r))
	if a == nil || a.Flags&index.NoXattrs == 0 {
		return nil
	}
	kind := 0
	switch {
	case name == xattrAccessACL:
	case name == xattrDefaultACL:
		kind = 1
	case strings.HasPrefix(name, "user."):
		kind = 2
	case strings.HasPrefix(name, "trusted."):
		kind = 3
	case strings.HasPrefix(name, "security."):
		kind = 4
	default:
		return nil
	}
	typ := 3
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		typ = 0
	case unix.S_IFDIR:
		typ = 1
	case unix.S_IFLNK:
		typ = 2
	}
	return &fs.layers[r.Layer].bare[typ][kind]
}
