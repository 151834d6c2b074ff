package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// making is an object that is to be made.
type making struct {
	mode   uint32 // with its type
	rdev   uint32 // new_encode_dev
	target string
	uid    uint32
	gid    uint32
}

func (m *making) typ() uint32 { return m.mode & unix.S_IFMT }

// newName is the errno for a name that can't be given to an object.
func newName(name string) syscall.Errno {
	if len(name) > sys.NameMax {
		return unix.ENAMETOOLONG
	}
	if len(name) >= 4 && name[:4] == ".wh." {
		if _, kind := dialect.ParseDotWh(name); kind != dialect.DotWhNone {
			return unix.EINVAL // it would read back as a whiteout
		}
	}
	return 0
}

// Mkdir makes a directory.
func (fs *FS) Mkdir(c *Caller, parent node.ID, name string, mode uint32, e *Entry) syscall.Errno {
	return fs.mk(c, parent, name, &making{mode: mode&0o7777 | unix.S_IFDIR}, e)
}

// Mknod makes a file of any type but directory and link. A char device 0:0 is
// refused as overlayfs refuses it: it is what whiteouts look like.
func (fs *FS) Mknod(c *Caller, parent node.ID, name string, mode, rdev uint32, e *Entry) syscall.Errno {
	if mode&unix.S_IFMT == 0 {
		mode |= unix.S_IFREG
	}
	if mode&unix.S_IFMT == unix.S_IFCHR && rdev == 0 {
		return unix.EPERM
	}
	return fs.mk(c, parent, name, &making{mode: mode, rdev: rdev}, e)
}

// Symlink makes a symbolic link.
func (fs *FS) Symlink(c *Caller, parent node.ID, name, target string, e *Entry) syscall.Errno {
	return fs.mk(c, parent, name, &making{mode: unix.S_IFLNK | 0o777, target: target}, e)
}

// Create makes a regular file; the open flags of the client do not matter.
func (fs *FS) Create(c *Caller, parent node.ID, name string, mode, _ uint32, e *Entry) syscall.Errno {
	return fs.mk(c, parent, name, &making{mode: mode&0o7777 | unix.S_IFREG}, e)
}

// mk makes an object under a new name. It appears complete or not at all.
func (fs *FS) mk(c *Caller, parent node.ID, name string, m *making, e *Entry) syscall.Errno {
	fs.quota.begin()
	defer fs.quota.end()
	if errno := fs.writable(); errno != 0 {
		return errno
	}
	if errno := newName(name); errno != 0 {
		return errno
	}
	r := fs.t.Get(parent)
	if r == nil {
		return unix.ESTALE
	}
	if !r.Has(node.Dir) {
		return unix.ENOTDIR
	}
	if !r.Has(node.Upper) {
		if errno := fs.upDir(parent.Index()); errno != 0 {
			return errno
		}
	}
	if errno := fs.quota.admit(4096); errno != 0 {
		return errno
	}
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, errno := fs.lockDir(parent)
	if errno != 0 {
		return errno
	}
	defer d.mu.Unlock()
	if d.gone {
		return unix.ENOENT
	}
	ent := d.ix.Find(name)
	if ent != nil && ent.Visible() {
		return unix.EEXIST
	}
	p, errno := fs.dirFD(d.i, 0)
	if errno != 0 {
		return errno
	}
	defer p.release()
	over := ent != nil && ent.Upper == index.Whiteout
	in := fs.mem.begin(&intent{kind: intentMake, parent: parent}, name, "")
	var fd int
	var st *sys.Stat
	errno = fs.quota.around(p.fd, "", func() (e syscall.Errno) {
		if fd, st, e = fs.makeAt(c, d, p.fd, name, m, over); e == 0 {
			fs.quota.add(p.fd, name)
		}
		return e
	})
	if errno == 0 {
		fail.Point("create.done")
		errno = fs.made(d, p.fd, name, m, st, fd, e)
	}
	fs.mem.done(in, errno != 0)
	if errno != 0 {
		return errno
	}
	if errno := fs.syncNames(p.fd); errno != 0 {
		fs.t.Forget(e.Node, 1)
		return errno
	}
	return 0
}

// makeAt makes the object, straight in its place where that leaves nothing to
// be done afterwards, else as a temporary that is renamed. fd is an open
// regular file, or -1.
func (fs *FS) makeAt(c *Caller, d *dir, dirfd int, name string, m *making, over bool) (fd int, st *sys.Stat, e syscall.Errno) {
	st = &sys.Stat{}
	m.uid, m.gid = fs.ids.uid.store(c.UID), fs.ids.gid.store(c.GID)
	acl := fs.hasDefaultACL(d, dirfd)
	if !acl && m.typ() != unix.S_IFLNK {
		m.mode &^= c.Umask & 0o777
	}
	opaque := over || fs.live.on && m.typ() == unix.S_IFDIR
	direct := !opaque && !fs.hasOverride(0) && (m.uid == fs.myUID || !fs.root)
	if direct && m.gid != fs.myGID && fs.root {
		// Unless the directory hands its group down, the group must be set.
		if e := sys.StatAt(dirfd, "", st); e != 0 {
			return -1, nil, e
		}
		direct = st.Mode&unix.S_ISGID != 0
	}
	if direct {
		fd, e = fs.makeRaw(dirfd, name, m, m.mode)
		if e == 0 {
			fail.Point("create.made")
			e = fs.statMade(fd, dirfd, name, st)
		}
		return fd, st, e
	}
	tmp := fs.tmpName()
	fd, e = fs.stage(d, dirfd, tmp, m, acl, opaque)
	if e == 0 {
		fail.Point("create.staged")
		e = fs.unstage(dirfd, name, tmp, m, over)
	}
	if e == 0 {
		fail.Point("create.placed")
		e = fs.statMade(fd, dirfd, name, st)
	}
	if e != 0 {
		if fd >= 0 {
			sys.Close(fd)
		}
		fs.discard(tmp)
		return -1, nil, e
	}
	return fd, st, 0
}

func (fs *FS) statMade(fd, dirfd int, name string, st *sys.Stat) syscall.Errno {
	if fd >= 0 {
		return sys.StatFD(fd, st)
	}
	return sys.StatAt(dirfd, name, st)
}

// makeRaw makes the object with one system call.
func (fs *FS) makeRaw(dirfd int, name string, m *making, mode uint32) (fd int, e syscall.Errno) {
	switch m.typ() {
	case unix.S_IFREG:
		return fs.fds.open(func() (int, syscall.Errno) {
			return sys.Open(dirfd, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, mode&0o7777)
		})
	case unix.S_IFDIR:
		return -1, sys.Mkdir(dirfd, name, mode&0o7777)
	case unix.S_IFLNK:
		return -1, sys.Symlink(m.target, dirfd, name)
	default:
		return -1, sys.Mknod(dirfd, name, mode, m.rdev)
	}
}

// made makes the node of a new object. fd is handed over to the cache.
func (fs *FS) made(d *dir, dirfd int, name string, m *making, st *sys.Stat, fd int, e *Entry) syscall.Errno {
	var a Attr
	errno := fs.fill(&a, st, 0, at{keep(dirfd), name})
	ent := d.ix.Add(name)
	ent.Upper = fs.entryType(st.Mode)
	ent.Ino = fs.inos.show(uint64(st.Dev), st.Ino)
	fs.inos.drop(ent.Ino)
	fs.noteBase(d, dirfd, name)
	in := node.Init{Ino: ent.Ino, Key: st.Ino, Flags: node.Upper, Type: uint8(a.Mode >> 12 & 15)}
	switch m.typ() {
	case unix.S_IFDIR:
		in.Flags |= node.Dir
	case unix.S_IFREG:
		in.Flags |= node.NoCaps
		fs.fresh(&in, &a)
	}
	var id node.ID
	if errno == 0 {
		id, _, errno = fs.t.Insert(d.i, name, &in)
	}
	if errno != 0 {
		if fd >= 0 {
			sys.Close(fd)
		}
		return errno
	}
	if m.typ() == unix.S_IFDIR {
		n := fs.dirs.make(id.Index(), nil, nil)
		n.mu.Lock()
		n.stack.Store(&[]below{})
		n.ready.Store(true)
		n.ix = &index.Dir{}
		n.mu.Unlock()
	}
	if fd >= 0 {
		fs.fds.put(fs.key(id.Index(), 0, kindFile), fd).release()
	}
	a.Ino = ent.Ino
	if fs.o.StaticNlink && in.Flags&node.Dir != 0 {
		a.Nlink = 1
	}
	e.Node, e.Attr = id, a
	return 0
}

// fresh marks the times of a new file as the kernel's: a write within the same
// tick of its clock does not change them there, and is not to change them here.
func (fs *FS) fresh(in *node.Init, a *Attr) {
	if fs.writeback() {
		in.Flags |= node.Flushed
		in.Mtime, in.MtimeNs = a.Mtime.Sec, a.Mtime.Nsec
	}
}

// Tmpfile makes a file that no name leads to (O_TMPFILE). It lives in the work
// directory until it is forgotten or linked.
func (fs *FS) Tmpfile(c *Caller, parent node.ID, mode, _ uint32, e *Entry) syscall.Errno {
	if errno := fs.writable(); errno != 0 {
		return errno
	}
	if errno := fs.upDir(parent.Index()); errno != 0 {
		return errno
	}
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, errno := fs.lockDir(parent)
	if errno != 0 {
		return errno
	}
	defer d.mu.Unlock()
	p, errno := fs.dirFD(d.i, 0)
	if errno != 0 {
		return errno
	}
	defer p.release()
	m := &making{mode: mode&0o7777 | unix.S_IFREG, uid: fs.ids.uid.store(c.UID), gid: fs.ids.gid.store(c.GID)}
	acl := fs.hasDefaultACL(d, p.fd)
	if !acl {
		m.mode &^= c.Umask & 0o777
	}
	tmp := fs.tmpName()
	fd, errno := fs.stage(d, p.fd, tmp, m, acl, false)
	var st sys.Stat
	if errno == 0 {
		errno = sys.StatFD(fd, &st)
	}
	if errno == 0 {
		in := node.Init{
			Ino: fs.inos.show(uint64(st.Dev), st.Ino), Key: st.Ino, Type: unix.DT_REG,
			Flags: node.Upper | node.Orphan | node.Dead,
		}
		fs.inos.drop(in.Ino)
		var id node.ID
		if id, errno = fs.t.InsertDead(d.i, &in); errno == 0 {
			if errno = fs.orphan(tmp, id); errno == 0 {
				fs.fds.put(fs.key(id.Index(), 0, kindFile), fd).release()
				e.Node = id
				return fs.getAttr(id, &e.Attr)
			}
			fs.t.Forget(id, 1)
		}
	}
	if fd >= 0 {
		sys.Close(fd)
	}
	fs.discard(tmp)
	return errno
}

func decodeDev(dev uint32) uint64 {
	return unix.Mkdev(dev>>8&0xfff, dev&0xff|dev>>12&0xfff00)
}
