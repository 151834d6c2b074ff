package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// lockParent makes sure that the directory is in the upper layer and takes it
// for a change. The caller undoes it with unlockParent.
func (fs *FS) lockParent(parent node.ID) (*dir, syscall.Errno) {
	if e := fs.writable(); e != 0 {
		return nil, e
	}
	r := fs.t.Get(parent)
	if r == nil {
		return nil, unix.ESTALE
	}
	if !r.Has(node.Dir) {
		return nil, unix.ENOTDIR
	}
	if !r.Has(node.Upper) {
		if e := fs.upDir(parent.Index()); e != 0 {
			return nil, e
		}
	}
	fs.renameMu.RLock()
	d, e := fs.lockDir(parent)
	if e != 0 {
		fs.renameMu.RUnlock()
	}
	return d, e
}

func (fs *FS) unlockParent(d *dir) {
	d.mu.Unlock()
	fs.renameMu.RUnlock()
}

// pinNode pins the node that a visible name leads to, None when the kernel
// knows none. Preconditions: fs.renameMu and d.mu are held.
func (fs *FS) pinNode(d *dir, name string, ent *index.Entry) node.ID {
	if id := fs.t.Pin(d.i, name); id != node.None {
		return id
	}
	if ent.Type() == unix.DT_DIR {
		return node.None
	}
	// Another name of a file with several? Then its node must know, even if
	// it is made for that alone.
	var f found
	if fs.inspect(d, name, ent, &f) != 0 || !fs.shared(&f) {
		return node.None
	}
	id, e := fs.holdNode(d, name)
	if e != 0 {
		return node.None
	}
	return id
}

// Unlink removes a name that is no directory. Nothing is copied: a whiteout
// hides a lower file, and an upper one is kept in the work directory as long
// as the kernel knows it.
func (fs *FS) Unlink(parent node.ID, name string) (e syscall.Errno) {
	fs.quota.begin()
	defer fs.quota.end()
	d, e := fs.lockParent(parent)
	if e != 0 {
		return e
	}
	defer fs.unlockParent(d)
	ent := d.ix.Find(name)
	if ent == nil || !ent.Visible() {
		return unix.ENOENT
	}
	if ent.Type() == unix.DT_DIR {
		return unix.EISDIR
	}
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	id := fs.pinNode(d, name, ent)
	if id != node.None {
		defer fs.t.Unpin(id)
		l := fs.loc(id.Index())
		l.Lock()
		defer l.Unlock()
	}
	whiteout, wasUpper := ent.HasLower(), ent.Upper != index.None
	in := fs.beginRemove(intentUnlink, d, name, id, whiteout, wasUpper)
	defer func() { fs.mem.done(in, e != 0) }()
	fail.Point("unlink.begin")
	e = fs.quota.around(p.fd, "", func() syscall.Errno {
		if !wasUpper {
			return fs.putWhiteout(d, p.fd, name)
		}
		return fs.unlinkUpper(d, p.fd, name, id, whiteout)
	})
	if e != 0 {
		return e
	}
	fail.Point("unlink.done")
	fs.hide(d, ent)
	if id != node.None {
		fs.unnamed(id, d.i, name, wasUpper)
	}
	e = fs.syncNames(p.fd)
	return e
}

// hide takes a name out of the view. Precondition: d.mu is held for writing.
func (fs *FS) hide(d *dir, ent *index.Entry) {
	if ent.HasLower() {
		ent.Upper = index.Whiteout
	} else {
		ent.Upper = index.None
		d.ix.Settle(ent)
	}
}

// unlinkUpper removes an upper object's name. The object itself is kept as an
// orphan when the node would have no other way to it.
func (fs *FS) unlinkUpper(d *dir, dirfd int, name string, id node.ID, whiteout bool) syscall.Errno {
	orphan := false
	if id != node.None {
		r := fs.t.Rec(id.Index())
		orphan = !r.Has(node.Orphan) && !r.Has(node.Indexed) && fs.primary(r, d.i, name)
		if orphan {
			if e := fs.takeAway(d, dirfd, name, orphanName(id), whiteout); e != 0 {
				return e
			}
			r.Set(node.Orphan)
			return 0
		}
	}
	if !whiteout {
		return fs.quota.removing(dirfd, name, func() syscall.Errno { return sys.Unlink(dirfd, name) })
	}
	tmp := fs.tmpName()
	if e := fs.takeAway(d, dirfd, name, tmp, true); e != 0 {
		return e
	}
	fail.Point("unlink.away")
	return fs.quota.removing(fs.work.tmp, tmp, func() syscall.Errno { return sys.Unlink(fs.work.tmp, tmp) })
}

// primary says whether the node is found under this very name.
func (fs *FS) primary(r *node.Rec, parent uint32, name string) bool {
	return r.Parent() == parent && fs.t.Name(r) == name && !r.Has(node.Dead)
}

// unnamed notes that a node has lost a name. Precondition: the node's loc is
// held for writing.
func (fs *FS) unnamed(id node.ID, parent uint32, name string, wasUpper bool) {
	i := id.Index()
	r := fs.t.Rec(i)
	if !wasUpper {
		// The link count of the object does not tell.
		r.Set(node.Sticky)
		r.Delta--
		fs.saveDelta(r)
	}
	if fs.primary(r, parent, name) {
		fs.t.Unhash(i)
		r.Set(node.Dead)
	}
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(parent node.ID, name string) (e syscall.Errno) {
	fs.quota.begin()
	defer fs.quota.end()
	d, e := fs.lockParent(parent)
	if e != 0 {
		return e
	}
	defer fs.unlockParent(d)
	ent := d.ix.Find(name)
	if ent == nil || !ent.Visible() {
		return unix.ENOENT
	}
	if ent.Type() != unix.DT_DIR {
		return unix.ENOTDIR
	}
	id, e := fs.holdNode(d, name)
	if e != 0 {
		return e
	}
	defer fs.t.Unpin(id)
	c := fs.dirs.get(id.Index())
	if e := fs.lock(c); e != 0 {
		return e
	}
	defer c.mu.Unlock()
	if !c.empty() {
		return unix.ENOTEMPTY
	}
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	l := fs.loc(id.Index())
	l.Lock()
	defer l.Unlock()
	r := fs.t.Rec(id.Index())
	in := fs.beginRemove(intentRmdir, d, name, id, ent.HasLower(), r.Has(node.Upper))
	defer func() { fs.mem.done(in, e != 0) }()
	fail.Point("rmdir.begin")
	e = fs.quota.around(p.fd, "", func() syscall.Errno {
		if !r.Has(node.Upper) {
			return fs.putWhiteout(d, p.fd, name)
		}
		return fs.rmdirUpper(d, c, p.fd, name, ent.HasLower())
	})
	if e != 0 {
		return e
	}
	fs.hide(d, ent)
	fs.buryDir(c, r)
	e = fs.syncNames(p.fd)
	return e
}

// holdNode pins the node of a visible name, made for the occasion if need be.
// Preconditions: fs.renameMu and d.mu are held.
func (fs *FS) holdNode(d *dir, name string) (node.ID, syscall.Errno) {
	if id := fs.t.Pin(d.i, name); id != node.None {
		return id, 0
	}
	var e Entry
	if errno := fs.lookupLocked(d, name, &e); errno != 0 {
		return node.None, errno
	}
	fs.t.Hold(e.Node)
	fs.t.Forget(e.Node, 1)
	return e.Node, 0
}

// empty says whether nothing is visible in the directory. Precondition: d.mu
// is held, the index is loaded.
func (d *dir) empty() bool {
	empty := true
	d.ix.All(func(ent *index.Entry, _ string) bool {
		empty = !ent.Visible()
		return empty
	})
	return empty
}

// bare says whether the upper directory has nothing in it, whiteouts included.
func (d *dir) bare() bool {
	bare := true
	d.ix.All(func(ent *index.Entry, _ string) bool {
		bare = ent.Upper == index.None
		return bare
	})
	return bare
}

// rmdirUpper removes the upper part of a directory that is visibly empty.
func (fs *FS) rmdirUpper(d, c *dir, dirfd int, name string, whiteout bool) syscall.Errno {
	// The descriptor outlives the name: fstat on a removed working directory.
	if p, e := fs.dirFD(c.i, 0); e == 0 {
		c.keepDead(p.fd)
		p.release()
	}
	gone, _ := fs.quota.last(dirfd, name)
	e := unix.ENOTEMPTY
	if !whiteout && c.bare() {
		e = sys.Rmdir(dirfd, name)
	}
	if e == unix.ENOTEMPTY || e == unix.EEXIST {
		tmp := fs.tmpName()
		if e = fs.takeAway(d, dirfd, name, tmp, whiteout); e == 0 {
			fail.Point("rmdir.away")
			_ = fs.removeTree(fs.work.tmp, tmp, 0)
		}
	}
	if e != 0 {
		if fd := c.dead.Swap(-1); fd >= 0 {
			sys.Close(int(fd))
		}
		return e
	}
	fs.quota.change(-gone.Bytes, -gone.Inodes)
	return 0
}

// buryDir notes that a directory is gone. Preconditions: c.mu and the node's
// loc are held for writing.
func (fs *FS) buryDir(c *dir, r *node.Rec) {
	c.gone = true
	c.unload(&fs.dirs)
	c.ix = &index.Dir{}
	fs.remember(c, r)
	fs.t.Unhash(c.i)
	r.Set(node.Dead)
	fs.fds.drop(fs.key(c.i, 0, kindDir))
}

// syncNames makes a change of names durable when fsync=strict asks for it.
func (fs *FS) syncNames(dirfd int) syscall.Errno {
	if fs.o.Fsync != layer.FsyncStrict {
		return 0
	}
	return fs.syncDir(dirfd)
}
