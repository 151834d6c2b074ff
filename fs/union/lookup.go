package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// Lookup finds a name. The node is counted once for the caller; ENOENT means
// that no layer shows the name.
func (fs *FS) Lookup(parent node.ID, name string, e *Entry) syscall.Errno {
	if len(name) > sys.NameMax {
		return unix.ENAMETOOLONG
	}
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, errno := fs.rlockDir(parent)
	if errno != 0 {
		return errno
	}
	if len(d.closed) > 0 && d.ix.Find(name) == nil {
		d.mu.RUnlock()
		fs.learn(d, name)
		if errno := fs.rlock(d); errno != 0 {
			return errno
		}
	}
	defer d.mu.RUnlock()
	return fs.lookupLocked(d, name, e)
}

// rlockDir is rlock of a directory that the kernel names.
func (fs *FS) rlockDir(id node.ID) (*dir, syscall.Errno) {
	r := fs.t.Get(id)
	switch {
	case r == nil:
		return nil, unix.ESTALE
	case !r.Has(node.Dir):
		return nil, unix.ENOTDIR
	}
	d := fs.dirs.get(id.Index())
	return d, fs.rlock(d)
}

// lockDir is rlockDir for writing.
func (fs *FS) lockDir(id node.ID) (*dir, syscall.Errno) {
	r := fs.t.Get(id)
	switch {
	case r == nil:
		return nil, unix.ESTALE
	case !r.Has(node.Dir):
		return nil, unix.ENOTDIR
	}
	d := fs.dirs.get(id.Index())
	return d, fs.lock(d)
}

// lookupLocked is Lookup in a directory whose index is loaded. Preconditions:
// fs.renameMu and d.mu are held.
func (fs *FS) lookupLocked(d *dir, name string, e *Entry) syscall.Errno {
	ent := d.ix.Find(name)
	if ent == nil || !ent.Visible() {
		return unix.ENOENT
	}
	for {
		id := fs.t.Lookup(d.i, name)
		if id == node.None {
			return fs.lookupNew(d, name, ent, e)
		}
		errno := syscall.Errno(0)
		if fs.t.Rec(id.Index()).Type == unix.DT_DIR {
			errno = fs.awaitDir(id)
		}
		if errno == 0 {
			errno = fs.getAttr(id, &e.Attr)
		}
		if errno == 0 && fs.o.Live && !fs.same(id, ent, d, name) {
			// The host put something else there: what is open stays the old
			// node, the name gets a new one.
			fs.detach(id)
			fs.t.Forget(id, 1)
			continue
		}
		if errno != 0 {
			fs.t.Forget(id, 1)
		}
		e.Node = id
		return errno
	}
}

// found is an object that a look-up has found in its layer.
type found struct {
	layer uint16
	st    sys.Stat
	attr  Attr
	data  uint16 // with meta
	meta  bool
	path  string // with meta: where a redirect leads in layer data
}

// inspect looks at an entry in its layer. Preconditions as lookupLocked.
func (fs *FS) inspect(d *dir, name string, ent *index.Entry, f *found) (errno syscall.Errno) {
	f.layer = ent.Layer
	if ent.Upper != index.None {
		f.layer = 0
	}
	if fs.inspectKnown(d, name, ent, f) {
		return 0
	}
	known := fs.baseAttr(d, name, ent)
	if known != nil && known.get(f) {
		return fs.fill(&f.attr, &f.st, f.layer, at{})
	}
	p, e := fs.dirFD(d.i, f.layer)
	if e != 0 {
		return e
	}
	defer p.release()
	if known != nil {
		defer func() {
			if errno == 0 && f.path == "" {
				known.set(f)
			}
		}()
	}
	if e := sys.StatAt(p.fd, name, &f.st); e != 0 {
		return e
	}
	if f.layer > 0 && fs.live.hides(uint64(f.st.Dev), f.st.Ino) {
		return unix.ENOENT
	}
	if e := fs.fill(&f.attr, &f.st, f.layer, at{p, name}); e != 0 {
		return e
	}
	f.attr.Asked = true
	if f.st.Mode&unix.S_IFMT == unix.S_IFREG && f.st.Size > 0 && !fs.layers[f.layer].bottom && fs.readsMeta() {
		return fs.findData(d, name, p.fd, f)
	}
	return 0
}

// lookupNew makes the node for a name that the table does not know.
func (fs *FS) lookupNew(d *dir, name string, ent *index.Entry, e *Entry) syscall.Errno {
	var f found
	if errno := fs.inspect(d, name, ent, &f); errno != 0 {
		return errno
	}
	in := node.Init{Key: f.st.Ino, Layer: f.layer, Type: uint8(f.attr.Mode >> 12 & 15)}
	if f.layer == 0 {
		in.Ino = ent.Ino
		in.Flags |= node.Upper
	} else {
		in.Ino = fs.inos.show(uint64(f.st.Dev), f.st.Ino)
	}
	if f.meta {
		in.Flags |= node.Meta
		in.Data = f.data
	}
	if f.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fs.newDir(d, name, ent, &in, &f, e)
	}
	if fs.shared(&f) {
		return fs.lookupLinked(d, name, ent, &in, &f, e)
	}
	id, _, errno := fs.t.Insert(d.i, name, &in)
	if errno != 0 {
		return errno
	}
	if f.path != "" {
		fs.metaPaths.set(id, f.path)
		fs.note(noteMeta, f.path, uint64(id))
	}
	e.Node, e.Attr = id, f.attr
	fs.adjustNew(id, &e.Attr)
	return 0
}

// adjustNew is adjust for a node that was just inserted, perhaps by another
// request.
func (fs *FS) adjustNew(id node.ID, a *Attr) {
	r := fs.t.Rec(id.Index())
	l := fs.loc(id.Index())
	l.RLock()
	fs.adjust(id.Index(), r, a)
	l.RUnlock()
}

// newDir makes the node of a directory, and what the heap holds for it. Another
// request may find the node before that is complete: it waits in awaitDir.
func (fs *FS) newDir(d *dir, name string, ent *index.Entry, in *node.Init, f *found, e *Entry) syscall.Errno {
	in.Flags |= node.Dir
	var cand []uint16
	var b *baseDir
	if ent.Lower == unix.DT_DIR {
		cand = d.ix.Below(ent, nil)
		b = fs.baseKid(d, name, ent)
	}
	fs.newDirMu.Lock()
	id, made, errno := fs.t.Insert(d.i, name, in)
	if errno != 0 {
		fs.newDirMu.Unlock()
		return errno
	}
	if made {
		fs.dirs.make(id.Index(), cand, b)
	}
	fs.newDirMu.Unlock()
	if errno = fs.awaitDir(id); errno != 0 {
		fs.t.Forget(id, 1)
		return errno
	}
	e.Node, e.Attr = id, f.attr
	fs.adjustNew(id, &e.Attr)
	return 0
}

// awaitDir makes sure that a directory's layers are known as far as its
// attributes need it. Preconditions: fs.renameMu and the parent's d.mu are
// held.
func (fs *FS) awaitDir(id node.ID) syscall.Errno {
	n := fs.dirs.get(id.Index())
	if n == nil {
		fs.newDirMu.Lock() // the request that made the node is about to make it
		n = fs.dirs.get(id.Index())
		fs.newDirMu.Unlock()
	}
	if n.ready.Load() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready.Load() {
		if fs.needsStack(n) {
			if e := fs.loadStack(n); e != 0 {
				return e
			}
		}
		n.ready.Store(true)
	}
	return 0
}

// same says whether the node still is what its lower layer has under the
// name.
func (fs *FS) same(id node.ID, ent *index.Entry, d *dir, name string) bool {
	if ent.Upper != index.None {
		return true
	}
	r := fs.t.Rec(id.Index())
	p, e := fs.dirFD(d.i, ent.Layer)
	if e != 0 {
		return false
	}
	defer p.release()
	var st sys.Stat
	if sys.StatAt(p.fd, name, &st) != 0 {
		return false
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	return r.Layer == ent.Layer && fs.inos.show(uint64(st.Dev), st.Ino) == r.Ino && uint8(st.Mode>>12&15) == r.Type
}

// detach takes the name from a node whose lower object is gone.
func (fs *FS) detach(id node.ID) {
	l := fs.loc(id.Index())
	l.Lock()
	r := fs.t.Rec(id.Index())
	if !r.Has(node.Dead) {
		fs.t.Unhash(id.Index())
		r.Set(node.Dead)
	}
	l.Unlock()
}

// hasOverride says whether the layer keeps owners as data.
func (fs *FS) hasOverride(n uint16) bool { return fs.layers[n].override != layer.XattrPermNone }
