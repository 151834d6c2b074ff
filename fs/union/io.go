package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// fileFD is a descriptor of a regular file's data, as it is now: a reader that
// came before a copy-up gets the upper file afterwards. Descriptors of the
// upper layer are writable.
func (fs *FS) fileFD(id node.ID, write bool) (pinned, syscall.Errno) {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	r := fs.t.Get(id)
	if r == nil {
		return pinned{}, unix.ESTALE
	}
	i := id.Index()
	l := fs.loc(i)
	l.RLock()
	defer l.RUnlock()
	n := r.Layer
	if r.Has(node.Meta) {
		n = r.Data
	}
	if write && n != 0 {
		return pinned{}, unix.EROFS
	}
	k := fs.key(i, n, kindFile)
	if p, ok := fs.fds.get(k); ok {
		return p, 0
	}
	if r.Type != unix.DT_REG {
		return pinned{}, unix.EINVAL
	}
	w, e := fs.whereIn(i, r, n)
	if e != 0 {
		return pinned{}, e
	}
	defer w.release()
	var fd int
	if n == 0 && !fs.ro {
		fd, e = fs.openOwn(w.dir.fd, w.name, unix.O_RDWR|unix.O_NOATIME)
		if e == unix.EACCES && !write {
			fd, e = fs.openLower(w.dir.fd, w.name)
		}
	} else {
		fd, e = fs.openLower(w.dir.fd, w.name)
	}
	if e != 0 {
		return pinned{}, e
	}
	if e := fs.whole(fd); e != 0 {
		sys.Close(fd)
		return pinned{}, e
	}
	return fs.fds.put(k, fd), 0
}

// openOwn opens an upper object that the server made. The kernel has checked
// the client's rights already; where the server has no CAP_DAC_OVERRIDE, the
// mode of a file of its own (0444, as git's objects) may be in its way: it is
// widened for the moment of the open.
func (fs *FS) openOwn(dirfd int, name string, flags int) (int, syscall.Errno) {
	open := func() (int, syscall.Errno) { return sys.Open(dirfd, name, flags|unix.O_NONBLOCK, 0) }
	fd, e := fs.fds.open(open)
	if e == unix.EPERM && flags&unix.O_NOATIME != 0 {
		flags &^= unix.O_NOATIME
		fd, e = fs.fds.open(open)
	}
	if e != unix.EACCES || fs.root {
		return fd, e
	}
	obj := name
	if name == "." {
		obj = "" // "." takes search permission, which may be what is missing
	}
	var st sys.Stat
	if sys.StatAt(dirfd, obj, &st) != 0 || st.Uid != fs.myUID {
		return -1, e
	}
	perm := uint32(0o600)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		perm = 0o700
	}
	if sys.Chmod(dirfd, obj, st.Mode&0o7777|perm) != 0 {
		return -1, e
	}
	fd, e = open()
	if back := sys.Chmod(dirfd, obj, st.Mode&0o7777); back != 0 && e == 0 {
		sys.Close(fd)
		return -1, back
	}
	return fd, e
}

// Upper says whether a write to the node copies nothing up.
func (fs *FS) Upper(id node.ID) bool {
	r := fs.t.Get(id)
	if r == nil {
		return true
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	return upIs(r, true)
}

// Read reads file data.
func (fs *FS) Read(id node.ID, p []byte, off int64) (int, syscall.Errno) {
	fd, e := fs.fileFD(id, false)
	if e != 0 {
		return 0, e
	}
	n, e := sys.Pread(fd.fd, p, off)
	fd.release()
	return n, e
}

// Write writes file data, and copies the file up before. Whoever sends it is
// not known with a writeback cache; where suid and sgid are to go, killFor is the
// writer, else nil.
func (fs *FS) Write(id node.ID, p []byte, off int64, killFor *Caller) (int, syscall.Errno) {
	if !fs.Upper(id) || fs.ro {
		if e := fs.copyUp(id, wholeFile, false); e != 0 {
			return 0, e
		}
	}
	if killFor != nil {
		if e := fs.chmodKill(id, killFor); e != 0 {
			return 0, e
		}
	}
	if e := fail.Err("write"); e != 0 {
		return 0, e
	}
	fd, e := fs.fileFD(id, true)
	if e != 0 {
		return 0, e
	}
	defer fd.release()
	defer fs.keepMtime(id, fd.fd)
	if fs.fsetid && !fs.quota.active() {
		return sys.Pwrite(fd.fd, p, off)
	}
	n := 0
	e = fs.grow(fd.fd, int64(len(p)), func() (e syscall.Errno) {
		n, e = sys.Pwrite(fd.fd, p, off)
		return e
	})
	return n, e
}

// grow runs fn, which changes the data of an upper file and may take n bytes
// more.
//
// A server without CAP_FSETID in the initial namespace loses suid and sgid of
// a file with every change that it makes itself, for whomever it was: they are
// put back. Whether they are to go has been decided before, by the kernel.
func (fs *FS) grow(fd int, n int64, fn func() syscall.Errno) syscall.Errno {
	var st sys.Stat
	if fs.fsetid || sys.StatFD(fd, &st) != 0 || st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
		return fs.quota.grow(fd, n, fn)
	}
	e := fs.quota.grow(fd, n, fn)
	_ = sys.ChmodFD(fd, st.Mode&0o7777)
	return e
}

// Fsync makes a file's data durable. What was never written needs nothing.
func (fs *FS) Fsync(id node.ID, datasync bool) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	if fs.o.Fsync == layer.FsyncVolatile || fs.ro || !fs.Upper(id) {
		return 0
	}
	fd, e := fs.fileFD(id, true)
	if e != 0 {
		return e
	}
	defer fd.release()
	if datasync {
		return sys.Fdatasync(fd.fd)
	}
	return sys.Fsync(fd.fd)
}

// FsyncDir makes the names in a directory durable.
func (fs *FS) FsyncDir(id node.ID, _ bool) syscall.Errno {
	if fs.ro {
		return 0
	}
	if fs.o.Fsync == layer.FsyncVolatile {
		return 0
	}
	// Opened under the locks and synced without: a sync may take long.
	fd := -1
	e := fs.view(id, func(_ uint32, r *node.Rec, w at) (e syscall.Errno) {
		if r.Has(node.Upper) && !r.Has(node.Dead) {
			fd, e = fs.fds.open(func() (int, syscall.Errno) { return sys.Open(w.dir.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0) })
		}
		return e
	})
	if e != 0 || fd < 0 {
		return e
	}
	defer sys.Close(fd)
	return sys.Fsync(fd)
}

// Fallocate, like fallocate(2).
func (fs *FS) Fallocate(id node.ID, mode uint32, off, length int64) syscall.Errno {
	if e := fs.copyUp(id, wholeFile, false); e != 0 {
		return e
	}
	fd, e := fs.fileFD(id, true)
	if e != 0 {
		return e
	}
	defer fd.release()
	defer fs.keepMtime(id, fd.fd)
	grow := length
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		grow = 0
	}
	return fs.grow(fd.fd, grow, func() syscall.Errno { return sys.Fallocate(fd.fd, mode, off, length) })
}

// Lseek finds data and holes.
func (fs *FS) Lseek(id node.ID, off int64, whence int) (int64, syscall.Errno) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	fd, e := fs.fileFD(id, false)
	if e != 0 {
		return 0, e
	}
	defer fd.release()
	return sys.Lseek(fd.fd, off, whence)
}

// CopyFileRange, like copy_file_range(2).
func (fs *FS) CopyFileRange(in node.ID, offIn int64, out node.ID, offOut int64, n int) (int, syscall.Errno) {
	if e := fs.copyUp(out, wholeFile, false); e != 0 {
		return 0, e
	}
	src, e := fs.fileFD(in, false)
	if e != 0 {
		return 0, e
	}
	defer src.release()
	dst, e := fs.fileFD(out, true)
	if e != 0 {
		return 0, e
	}
	defer dst.release()
	defer fs.keepMtime(out, dst.fd)
	done := 0
	e = fs.grow(dst.fd, int64(n), func() (e syscall.Errno) {
		done, e = sys.CopyRange(src.fd, offIn, dst.fd, offOut, n)
		return e
	})
	return done, e
}

// GetFlags reads the flags of chattr(1).
func (fs *FS) GetFlags(id node.ID) (flags uint32, e syscall.Errno) {
	e = fs.flagsFD(id, func(fd int) (e syscall.Errno) {
		flags, e = sys.GetFlags(fd)
		return e
	})
	return flags, e
}

// SetFlags sets the flags of chattr(1), where the upper allows it.
func (fs *FS) SetFlags(id node.ID, flags uint32) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	if e := fs.upFor(id, r, &AttrChange{}); e != 0 {
		return e
	}
	return fs.flagsFD(id, func(fd int) syscall.Errno {
		have, e := sys.GetFlags(fd)
		if e != 0 {
			return e
		}
		return sys.SetFlags(fd, have&^settable|flags&settable)
	})
}

// settable are the flags that chattr(1) sets. The others tell how a file system
// keeps a file: what a caller has read of the lower one may not be so in the upper.
const settable = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | // s u c S i a d A
	0x4000 | 0x8000 | 0x10000 | 0x20000 | 0x800000 | 0x2000000 | 0x20000000 // j t D T C x P

// flagsFD calls fn with a descriptor of a file or directory.
func (fs *FS) flagsFD(id node.ID, fn func(fd int) syscall.Errno) syscall.Errno {
	return fs.view(id, func(_ uint32, r *node.Rec, w at) syscall.Errno {
		if r.Type != unix.DT_REG && r.Type != unix.DT_DIR {
			return unix.ENOTTY
		}
		name := w.name
		if name == "" {
			name = "."
		}
		fd, e := sys.Open(w.dir.fd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if e != 0 {
			return e
		}
		defer sys.Close(fd)
		return fn(fd)
	})
}
