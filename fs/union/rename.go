package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// side is one of the two names of a rename.
type side struct {
	d    *dir
	name string
	fd   int // upper directory
	ent  *index.Entry
	id   node.ID // pinned; None when the name is not visible or not known
}

// Rename moves a name. RENAME_NOREPLACE and RENAME_EXCHANGE are those of
// renameat2(2); RENAME_WHITEOUT is refused as overlayfs refuses it.
//
// What is slow (copying up) is done first and without locks; then everything
// is looked at again under the locks, and the change itself is one
// renameat2(2).
//
// Analogous to fs/overlayfs/dir.c:ovl_rename().
func (fs *FS) Rename(oldParent node.ID, oldName string, newParent node.ID, newName_ string, flags uint32) syscall.Errno {
	fs.quota.begin()
	defer fs.quota.end()
	if e := fs.writable(); e != 0 {
		return e
	}
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 || flags == unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE {
		return unix.EINVAL
	}
	if e := newName(newName_); e != 0 {
		return e
	}
	for {
		isDir, e := fs.prepare(oldParent, oldName)
		if e != 0 {
			return e
		}
		if flags&unix.RENAME_EXCHANGE != 0 {
			other, e := fs.prepare(newParent, newName_)
			if e != 0 {
				return e
			}
			isDir = isDir || other
		}
		for _, p := range [...]node.ID{oldParent, newParent} {
			if e := fs.upDir(p.Index()); e != 0 {
				return e
			}
		}
		if e := fs.renameLocked(oldParent, oldName, newParent, newName_, flags, isDir); e != unix.EAGAIN {
			return e
		}
	}
}

// prepare brings the object of a name into the upper layer, so that it can be
// renamed there.
func (fs *FS) prepare(parent node.ID, name string) (isDir bool, e syscall.Errno) {
	var ent Entry
	if e := fs.Lookup(parent, name, &ent); e != 0 {
		return false, e
	}
	defer fs.Forget(ent.Node, 1)
	r := fs.t.Get(ent.Node)
	if r.Has(node.Dir) {
		return true, fs.prepareDir(ent.Node)
	}
	return false, fs.copyUp(ent.Node, wholeFile, false)
}

// renameLocked does the rename. EAGAIN means that something changed since
// prepare.
//
// A rename within one directory that moves no directory runs beside everything
// else; any other stops all operations on names for the one system call that
// it takes, since paths and two directories' names change.
func (fs *FS) renameLocked(oldParent node.ID, oldName string, newParent node.ID, newName string, flags uint32, isDir bool) syscall.Errno {
	if oldParent == newParent && !isDir {
		fs.renameMu.RLock()
		defer fs.renameMu.RUnlock()
	} else {
		fs.renameMu.Lock()
		defer fs.renameMu.Unlock()
	}
	src, dst := side{name: oldName}, side{name: newName}
	var e syscall.Errno
	if src.d, e = fs.lockDir(oldParent); e != 0 {
		return e
	}
	defer src.d.mu.Unlock()
	dst.d = src.d
	if newParent != oldParent {
		if dst.d, e = fs.lockDir(newParent); e != 0 {
			return e
		}
		defer dst.d.mu.Unlock()
	}
	if src.d.gone || dst.d.gone {
		return unix.ENOENT
	}
	for _, s := range [...]*side{&src, &dst} {
		p, e := fs.dirFD(s.d.i, 0)
		if e != 0 {
			return e
		}
		defer p.release()
		s.fd = p.fd
		s.ent = s.d.ix.Find(s.name)
		if s.ent == nil || !s.ent.Visible() {
			continue
		}
		if s.id, e = fs.pinSide(s); e != 0 {
			return e
		}
		if s.id != node.None {
			defer fs.t.Unpin(s.id)
		}
	}
	if src.ent == nil || !src.ent.Visible() || src.id == node.None {
		return unix.ENOENT
	}
	if !fs.ready(src.id) {
		return unix.EAGAIN
	}
	if e := fs.nameUp(&src); e != 0 {
		return e
	}
	visible := dst.ent != nil && dst.ent.Visible()
	switch {
	case flags&unix.RENAME_EXCHANGE != 0:
		if !visible || dst.id == node.None {
			return unix.ENOENT
		}
		if !fs.ready(dst.id) {
			return unix.EAGAIN
		}
		if e := fs.nameUp(&dst); e != 0 {
			return e
		}
		return fs.exchange(&src, &dst)
	case flags&unix.RENAME_NOREPLACE != 0 && visible:
		return unix.EEXIST
	case visible && src.id == dst.id:
		return 0 // two names of one file
	}
	return fs.move(&src, &dst, visible)
}

// pinSide pins the node of a visible name.
func (fs *FS) pinSide(s *side) (node.ID, syscall.Errno) {
	if s.ent.Type() == unix.DT_DIR {
		return fs.holdNode(s.d, s.name)
	}
	return fs.pinNode(s.d, s.name, s.ent), 0
}

// nameUp gives the upper layer a name that only a lower one has, of a file that
// was copied up by another of its names. Preconditions: fs.renameMu and s.d.mu
// (for writing) are held.
func (fs *FS) nameUp(s *side) syscall.Errno {
	r := fs.t.Rec(s.id.Index())
	if s.ent.Upper != index.None || r.Has(node.Dir) {
		return 0
	}
	l := fs.loc(s.id.Index())
	l.Lock()
	defer l.Unlock()
	if e := fs.linkAt(s.d, s.fd, s.name, s.id.Index(), r, false); e != 0 {
		return e
	}
	s.ent.Upper = fs.entryType(uint32(r.Type) << 12)
	fail.Point("rename.named")
	// The link count has grown by a name that was there before.
	r.Set(node.Sticky)
	r.Delta--
	fs.saveDelta(r)
	return 0
}

// ready says whether the node's object can be renamed in the upper layer as it
// is: prepare has done its part and nothing undid it.
func (fs *FS) ready(id node.ID) bool {
	r := fs.t.Rec(id.Index())
	if !r.Has(node.Dir) {
		return upIs(r, true)
	}
	d := fs.dirs.get(id.Index())
	s := d.stack.Load()
	return r.Has(node.Upper) && s != nil && (len(*s) == 0 || fs.redirects())
}

// move is a rename that is no exchange. Preconditions: fs.renameMu, both
// directories; the objects are ready.
func (fs *FS) move(src, dst *side, visible bool) (e syscall.Errno) {
	sr := fs.t.Rec(src.id.Index())
	isDir := sr.Has(node.Dir)
	unlock := fs.lockLocs(src.id, dst.id)
	defer unlock()
	if visible {
		if e := fs.clearTarget(src, dst, isDir); e != 0 {
			return e
		}
	}
	if e := fs.fitIn(sr, src, dst); e != 0 {
		return e
	}
	over := dst.ent != nil && dst.ent.Upper == index.Whiteout
	fail.Point("rename.begin")
	in := fs.beginRename(src, dst, 0)
	defer func() { fs.mem.done(in, e != 0) }()
	e = fs.quota.around(src.fd, "", func() syscall.Errno {
		if src.d == dst.d {
			return fs.renameOnDisk(src, dst, isDir, over)
		}
		return fs.quota.around(dst.fd, "", func() syscall.Errno { return fs.renameOnDisk(src, dst, isDir, over) })
	})
	if e != 0 {
		return e
	}
	fail.Point("rename.done")
	typ, ino := src.ent.Upper, src.ent.Ino
	wasUpper := dst.ent != nil && dst.ent.Upper != index.None
	if visible && dst.id != node.None {
		if tr := fs.t.Rec(dst.id.Index()); tr.Has(node.Dir) {
			fs.buryDir(fs.dirs.get(dst.id.Index()), tr)
		} else {
			fs.unnamed(dst.id, dst.d.i, dst.name, wasUpper)
		}
	}
	to := dst.d.ix.Add(dst.name)
	to.Upper, to.Ino = typ, ino
	fs.noteBase(dst.d, dst.fd, dst.name)
	fs.hide(src.d, src.d.ix.Find(src.name))
	if e = fs.renamed(src, dst, sr); e != 0 {
		return e
	}
	if e = fs.syncNames(dst.fd); e != 0 {
		return e
	}
	e = fs.syncNames(src.fd)
	return e
}

// renamed gives the node its new place.
func (fs *FS) renamed(src, dst *side, r *node.Rec) syscall.Errno {
	if !fs.primary(r, src.d.i, src.name) {
		return 0 // found by another of its names
	}
	if r.Has(node.Dir) {
		if e := fs.pinPaths(fs.dirs.get(src.id.Index())); e != 0 {
			return e
		}
	}
	return fs.t.Move(src.id.Index(), dst.d.i, dst.name, dst.id.Index())
}

// renameOnDisk moves the upper object and leaves a whiteout where a lower name
// would show again. A whiteout at the target goes in the same step.
func (fs *FS) renameOnDisk(src, dst *side, isDir, over bool) syscall.Errno {
	whiteout := src.ent.HasLower()
	dot := over && dotWhiteout(dst.fd, dst.name)
	if isDir && over && !dot {
		// A directory can't be renamed over a char device, but exchanged.
		if fs.can().exchange {
			if e := sys.Rename(src.fd, src.name, dst.fd, dst.name, unix.RENAME_EXCHANGE); e != 0 {
				return e
			}
			fail.Point("rename.exchanged")
			if whiteout {
				return 0
			}
			return fs.quota.removing(src.fd, src.name, func() syscall.Errno { return sys.Unlink(src.fd, src.name) })
		}
		if e := fs.dropWhiteout(dst.fd, dst.name); e != 0 {
			return e
		}
	}
	flags := uint(0)
	if whiteout && fs.can().whiteout {
		flags = unix.RENAME_WHITEOUT
	}
	e := fs.quota.removing(dst.fd, dst.name, func() syscall.Errno {
		return sys.Rename(src.fd, src.name, dst.fd, dst.name, flags)
	})
	if e != 0 {
		return e
	}
	if flags != 0 {
		fs.quota.add(src.fd, src.name)
	}
	if dot {
		if e := fs.dropDotWhiteout(dst.fd, dst.name); e != 0 {
			return e
		}
	}
	if whiteout && flags == 0 {
		return fs.putWhiteout(src.d, src.fd, src.name)
	}
	return 0
}

// exchange swaps two names. Preconditions as move.
func (fs *FS) exchange(a, b *side) (e syscall.Errno) {
	if a.id == b.id {
		return 0
	}
	unlock := fs.lockLocs(a.id, b.id)
	defer unlock()
	ar, br := fs.t.Rec(a.id.Index()), fs.t.Rec(b.id.Index())
	if e := fs.fitIn(ar, a, b); e != 0 {
		return e
	}
	if e := fs.fitIn(br, b, a); e != 0 {
		return e
	}
	in := fs.beginRename(a, b, exchanged)
	defer func() { fs.mem.done(in, e != 0) }()
	if e = sys.Rename(a.fd, a.name, b.fd, b.name, unix.RENAME_EXCHANGE); e != 0 {
		return e
	}
	fail.Point("exchange.done")
	a.ent.Upper, b.ent.Upper = b.ent.Upper, a.ent.Upper
	a.ent.Ino, b.ent.Ino = b.ent.Ino, a.ent.Ino
	aFirst, bFirst := fs.primary(ar, a.d.i, a.name), fs.primary(br, b.d.i, b.name)
	if bFirst {
		fs.t.Unhash(b.id.Index())
	}
	for _, s := range [...]struct {
		from, to *side
		r        *node.Rec
		first    bool
	}{{a, b, ar, aFirst}, {b, a, br, bFirst}} {
		if !s.first {
			continue
		}
		if s.r.Has(node.Dir) {
			if e := fs.pinPaths(fs.dirs.get(s.from.id.Index())); e != 0 {
				return e
			}
		}
		if e := fs.t.Move(s.from.id.Index(), s.to.d.i, s.to.name, 0); e != 0 {
			return e
		}
	}
	if e = fs.syncNames(a.fd); e == 0 {
		e = fs.syncNames(b.fd)
	}
	return e
}

// lockLocs takes the locks of two nodes (the second may be None) in their
// order.
func (fs *FS) lockLocs(a, b node.ID) (unlock func()) {
	la := fs.loc(a.Index())
	if b == node.None || fs.loc(b.Index()) == la {
		la.Lock()
		return la.Unlock
	}
	lb := fs.loc(b.Index())
	if a.Index()%locStripes > b.Index()%locStripes {
		la, lb = lb, la
	}
	la.Lock()
	lb.Lock()
	return func() {
		lb.Unlock()
		la.Unlock()
	}
}
