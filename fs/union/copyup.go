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

// wholeFile as the size of a copy-up means: all data.
const wholeFile = -1

// upIs says whether the node's object is in the upper layer, with its data
// when data is asked for.
func upIs(r *node.Rec, data bool) bool {
	return r.Has(node.Upper) && !(data && r.Has(node.Meta))
}

// copyUp brings a node's object into the upper layer: size bytes of its data
// (wholeFile for all), or with metaOnly and metacopy=on none. It holds no lock
// while data is copied; others that want the same node wait for it, everybody
// else goes on. A crash at any point leaves the old view or the new one.
//
// Preconditions: no lock of the union is held; the kernel holds the node.
//
// Analogous to fs/overlayfs/copy_up.c:ovl_copy_up_flags().
func (fs *FS) copyUp(id node.ID, size int64, metaOnly bool) syscall.Errno {
	if e := fs.writable(); e != 0 {
		return e
	}
	i := id.Index()
	for {
		r := fs.t.Get(id)
		if r == nil {
			return unix.ESTALE
		}
		l := fs.loc(i)
		l.RLock()
		up, isDir, dead, parent := upIs(r, !metaOnly), r.Has(node.Dir), r.Has(node.Dead), r.Parent()
		l.RUnlock()
		if up {
			return 0
		}
		if isDir && dead {
			return unix.ENOENT
		}
		if !dead {
			if e := fs.upDir(parent); e != 0 && e != unix.ENOENT {
				return e
			}
		}
		if !fs.copies.start(i) {
			continue
		}
		e := fs.copyOne(id, r, size, metaOnly)
		fs.copies.end(i)
		if e != unix.EAGAIN {
			return e
		}
	}
}

// upDir makes sure that a directory and all above it are in the upper layer.
func (fs *FS) upDir(i uint32) syscall.Errno {
	// From the top down, and by a list: a path may be thousands deep.
	var chain []uint32
	fs.renameMu.RLock()
	for ; node.ID(i) != node.Root; i = fs.t.Rec(i).Parent() {
		if fs.t.Rec(i).Has(node.Upper) {
			break
		}
		chain = append(chain, i)
	}
	fs.renameMu.RUnlock()
	for k := len(chain) - 1; k >= 0; k-- {
		for {
			id := fs.t.ID(chain[k])
			r := fs.t.Rec(chain[k])
			l := fs.loc(chain[k])
			l.RLock()
			up, dead := r.Has(node.Upper), r.Has(node.Dead)
			l.RUnlock()
			if up {
				break
			}
			if dead {
				return unix.ENOENT
			}
			if !fs.copies.start(chain[k]) {
				continue
			}
			e := fs.copyOne(id, r, 0, false)
			fs.copies.end(chain[k])
			if e == unix.EAGAIN {
				continue
			}
			if e != 0 {
				return e
			}
			break
		}
	}
	return 0
}

// copyOne does one copy-up. EAGAIN means: look again. Precondition: this
// node's flight is the caller's.
func (fs *FS) copyOne(id node.ID, r *node.Rec, size int64, metaOnly bool) syscall.Errno {
	i := id.Index()
	fs.loc(i).RLock()
	up, meta := upIs(r, !metaOnly), r.Has(node.Upper|node.Meta)
	fs.loc(i).RUnlock()
	if up {
		return 0
	}
	if meta {
		return fs.copyData(id, size)
	}
	tmp := fs.tmpName()
	c := copied{size: size, metaOnly: metaOnly && fs.o.Metacopy}
	e := fs.view(id, func(i uint32, r *node.Rec, w at) syscall.Errno { return fs.openSource(i, r, w, &c) })
	if e != 0 {
		return e
	}
	defer c.close()
	if fs.live.on && uint8(c.st.Mode>>12&15) != r.Type && c.attr.Mode>>12&15 != uint32(r.Type) {
		return unix.ESTALE // others have put something else there
	}
	c.metaOnly = c.metaOnly && c.st.Mode&unix.S_IFMT == unix.S_IFREG && c.st.Size > 0
	if e := fs.makeCopy(&c, tmp); e != 0 {
		fs.discard(tmp)
		return e
	}
	fail.Point("copyup.made")
	e = fs.install(id, &c, tmp)
	if e != 0 {
		fs.discard(tmp)
		return e
	}
	fs.tally.CopyUps.Add(1)
	return 0
}

// makeCopy makes the copy under a temporary name in work/, complete with all
// attributes, and its data as safe as fsync= says.
func (fs *FS) makeCopy(c *copied, tmp string) syscall.Errno {
	w := fs.work.tmp
	typ := c.st.Mode & unix.S_IFMT
	if typ == unix.S_IFREG && c.size != 0 {
		need := c.st.Blocks * 512
		if c.size != wholeFile {
			need = min(need, c.size)
		}
		if e := fs.quota.admit(need); e != 0 {
			return e
		}
	}
	fd := -1
	var e syscall.Errno
	switch typ {
	case unix.S_IFREG:
		if fd, e = sys.Open(w, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600); e != 0 {
			return e
		}
		defer sys.Close(fd)
		if e := fs.copyContent(c, fd); e != 0 {
			return e
		}
	case unix.S_IFDIR:
		if e := sys.Mkdir(w, tmp, 0o700); e != 0 {
			return e
		}
		if fd, e = sys.Open(w, tmp, unix.O_RDONLY|unix.O_DIRECTORY, 0); e != 0 {
			return e
		}
		defer sys.Close(fd)
	case unix.S_IFLNK:
		if e := sys.Symlink(c.link, w, tmp); e != 0 {
			return e
		}
	default:
		e := sys.Mknod(w, tmp, c.st.Mode&^0o7777|0o600, encodeDev(uint64(c.st.Rdev)))
		if e == unix.EPERM && fs.hasOverride(0) {
			e = fs.placeholder(tmp)
		}
		if e != 0 {
			return e
		}
	}
	fail.Point("copyup.attrs")
	if e := fs.copyAttrs(c, fd, tmp); e != 0 {
		return e
	}
	if fd >= 0 && (fs.o.Fsync == layer.FsyncStrict || (fs.o.Fsync == layer.FsyncAuto && c.data)) {
		fail.Point("copyup.sync")
		if e := fs.syncCopy(fd); e != 0 {
			return e
		}
	}
	var st sys.Stat
	if e := sys.StatAt(w, tmp, &st); e != 0 {
		return e
	}
	c.upIno = st.Ino
	return 0
}

// placeholder is the regular file that stands for an object that the server
// may not make: its override_stat says what it is.
func (fs *FS) placeholder(tmp string) syscall.Errno {
	fd, e := sys.Open(fs.work.tmp, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o700)
	if e == 0 {
		sys.Close(fd)
	}
	return e
}

// copyContent copies the data, or with metacopy only the length.
func (fs *FS) copyContent(c *copied, fd int) syscall.Errno {
	if c.metaOnly && c.st.Size > 0 {
		if e := sys.Truncate(fd, c.st.Size); e != 0 {
			return e
		}
		return sys.SetXattr(fd, "", fs.ns.Metacopy(), nil, 0)
	}
	c.metaOnly = false
	if c.size == 0 || c.st.Size == 0 {
		return 0
	}
	c.data = true
	n := c.st.Size
	if c.size != wholeFile {
		n = min(n, c.size)
	}
	moved, e := sys.CopyFile(fd, c.src, n, nil)
	fs.tally.CopiedUp.Add(moved)
	return e
}

// install puts a finished copy in place. The name may have been unlinked or
// renamed meanwhile: then the copy becomes the orphan of the node, or is made
// anew (EAGAIN).
func (fs *FS) install(id node.ID, c *copied, tmp string) syscall.Errno {
	fs.quota.begin()
	defer fs.quota.end()
	i := id.Index()
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	fs.loc(i).RLock()
	parent := r.Parent()
	fs.loc(i).RUnlock()
	d := fs.dirs.get(parent)
	if e := fs.lock(d); e != 0 {
		return e
	}
	defer d.mu.Unlock()
	l := fs.loc(i)
	l.Lock()
	defer l.Unlock()
	if r.Parent() != parent {
		return unix.EAGAIN // raced with a rename
	}
	if r.Has(node.Dead) {
		if c.isDir {
			return unix.ENOENT
		}
		in := fs.beginCopyUp(id, parent, "", c)
		defer func() { fs.mem.done(in, false) }()
		if e := fs.orphan(tmp, id); e != 0 {
			return e
		}
		fs.switchUp(i, r, c)
		r.Set(node.Orphan)
		if c.st.Nlink > 1 && !fs.live.on {
			fs.indexLink(i, r, c, fs.work.tmp, orphanName(id))
		}
		if !r.Has(node.Indexed) {
			// The lower's link count told the names that are left; the
			// orphan has none but its own.
			r.Clear(node.Sticky)
			r.Delta = 0
		}
		return 0
	}
	name := fs.t.Name(r)
	ent := d.ix.Find(name)
	if ent == nil || !ent.Visible() {
		return unix.ESTALE
	}
	p, e := fs.dirFD(parent, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	in := fs.beginCopyUp(id, parent, name, c)
	defer func() { fs.mem.done(in, false) }()
	if e := fs.place(d, p.fd, name, tmp, c); e != 0 {
		return e
	}
	fail.Point("copyup.placed")
	ent.Upper = fs.entryType(c.st.Mode)
	fs.switchUp(i, r, c)
	fs.separate(r, ent, c)
	if c.st.Nlink > 1 && !c.isDir && !fs.live.on {
		fs.indexLink(i, r, c, p.fd, name)
	}
	return 0
}

// place renames the temporary to its name in the upper directory, whose times
// stay as they were: a copy-up changes nothing that a client did.
func (fs *FS) place(d *dir, dirfd int, name, tmp string, c *copied) syscall.Errno {
	var pst sys.Stat
	times := sys.StatAt(dirfd, "", &pst) == 0
	if c.origin != nil || c.private != nil {
		fs.setImpure(d, dirfd)
	}
	fail.Point("copyup.place")
	e := fs.quota.around(dirfd, "", func() syscall.Errno {
		e := sys.Rename(fs.work.tmp, tmp, dirfd, name, unix.RENAME_NOREPLACE)
		if e == unix.EINVAL { // a file system without flags: NFS
			if sys.Exists(dirfd, name) {
				return unix.EEXIST
			}
			e = sys.Rename(fs.work.tmp, tmp, dirfd, name, 0)
		}
		if e == 0 {
			fs.quota.add(dirfd, name)
		}
		return e
	})
	if e != 0 {
		return e
	}
	fail.Point("copyup.placed")
	if times {
		_ = fs.utimes(dirfd, "", pst.Atim, pst.Mtim)
	}
	if fs.o.Fsync == layer.FsyncStrict {
		return fs.syncDir(dirfd)
	}
	return 0
}

// switchUp makes the node the upper object. Precondition: the node's loc is
// held for writing.
func (fs *FS) switchUp(i uint32, r *node.Rec, c *copied) {
	old := r.Layer
	if !r.Has(node.Dir) {
		k := fs.lowerLink(&c.st)
		r.OLayer, r.OKey = k.Layer, k.Ino
	}
	if c.metaOnly {
		if !r.Has(node.Meta) {
			r.Data = old
		}
		r.Set(node.Meta)
	} else {
		r.Clear(node.Meta)
	}
	r.Set(node.Upper)
	r.Key = c.upIno
	r.Layer = 0
	if !r.Has(node.Dir) {
		fs.fds.drop(fs.key(i, old, kindFile))
	}
	if c.origin == nil && c.private == nil {
		fs.inos.keep(fs.inos.show(fs.layers[0].dev, c.upIno), r.Ino)
	}
}

// entryType is the type that the index keeps for an upper object.
func (fs *FS) entryType(mode uint32) uint8 {
	t := uint8(mode >> 12 & 15)
	if t == unix.DT_REG && fs.hasOverride(0) {
		return index.Unknown
	}
	return t
}
