package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// putWhiteout hides name in the upper directory dirfd, where nothing is there
// yet. Precondition: d.mu is held for writing.
func (fs *FS) putWhiteout(d *dir, dirfd int, name string) syscall.Errno {
	if fs.can().mknod {
		return fs.linkWhiteout(dirfd, name)
	}
	if fs.can().xattr {
		tmp := fs.tmpName()
		if e := fs.makeXattrWhiteout(d, dirfd, tmp); e != 0 {
			return e
		}
		e := sys.Rename(fs.work.tmp, tmp, dirfd, name, unix.RENAME_NOREPLACE)
		if e == unix.EINVAL {
			e = sys.Rename(fs.work.tmp, tmp, dirfd, name, 0)
		}
		if e != 0 {
			_ = sys.Unlink(fs.work.tmp, tmp)
			return e
		}
		fs.quota.add(dirfd, name)
		return 0
	}
	wh, ok := dialect.DotWhName(name)
	if !ok {
		return unix.ENAMETOOLONG
	}
	fd, e := sys.Open(dirfd, wh, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	switch e {
	case 0:
		sys.Close(fd)
		fs.quota.add(dirfd, wh)
	case unix.EEXIST:
		e = 0
	}
	return e
}

// linkWhiteout makes a char device 0:0, as a link to a shared one: that takes
// no inode. The kernel does the same.
func (fs *FS) linkWhiteout(dirfd int, name string) syscall.Errno {
	w := &fs.work
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 2 {
		if !w.whiteout {
			if e := sys.Mknod(w.tmp, whiteoutName, unix.S_IFCHR, 0); e != 0 && e != unix.EEXIST {
				return e
			}
			w.whiteout = true
			fail.Point("whiteout.made")
		}
		e := sys.Link(w.tmp, whiteoutName, dirfd, name)
		if e == 0 && fs.quota.on && fs.quota.white.counted.Load() == 0 {
			fs.quota.countWhite()
		}
		if e != unix.EMLINK && e != unix.EPERM && e != unix.ENOENT {
			return e
		}
		// No more links: the next one starts a new shared whiteout.
		fs.quota.renewWhite()
		_ = sys.Unlink(w.tmp, whiteoutName)
		w.whiteout = false
	}
	e := sys.Mknod(dirfd, name, unix.S_IFCHR, 0)
	if e == 0 {
		fs.quota.add(dirfd, name)
	}
	return e
}

// makeXattrWhiteout makes one as a temporary, and marks the directory so that
// readers look for such whiteouts in it.
func (fs *FS) makeXattrWhiteout(d *dir, dirfd int, tmp string) syscall.Errno {
	if !d.xmark {
		if v, e := sys.ReadXattr(dirfd, "", fs.ns.Opaque()); e != 0 || dialect.ParseOpaque(v) != dialect.OpaqueYes {
			if e := sys.SetXattr(dirfd, "", fs.ns.Opaque(), []byte("x"), 0); e != 0 {
				return e
			}
		}
		d.xmark = true
	}
	fd, e := sys.Open(fs.work.tmp, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	if e := sys.SetXattr(fd, "", fs.ns.Whiteout(), []byte("y"), 0); e != 0 {
		_ = sys.Unlink(fs.work.tmp, tmp)
		return e
	}
	return 0
}

// takeAway moves an upper object to a name in work/, leaving a whiteout where
// it was when one is needed. With RENAME_WHITEOUT that is one step; where the
// file system has none, the whiteout is made first and exchanged, or (no
// exchange either) put there afterwards. Precondition: d.mu is held for writing.
func (fs *FS) takeAway(d *dir, dirfd int, name, tmp string, whiteout bool) syscall.Errno {
	if !whiteout {
		return sys.Rename(dirfd, name, fs.work.tmp, tmp, 0)
	}
	if fs.can().whiteout {
		e := sys.Rename(dirfd, name, fs.work.tmp, tmp, unix.RENAME_WHITEOUT)
		if e == 0 {
			fs.quota.add(dirfd, name)
		}
		return e
	}
	if fs.can().exchange && (fs.can().mknod || fs.can().xattr) {
		var e syscall.Errno
		if fs.can().mknod {
			e = sys.Mknod(fs.work.tmp, tmp, unix.S_IFCHR, 0)
		} else {
			e = fs.makeXattrWhiteout(d, dirfd, tmp)
		}
		if e == 0 {
			if e = sys.Rename(fs.work.tmp, tmp, dirfd, name, unix.RENAME_EXCHANGE); e != 0 {
				_ = sys.Unlink(fs.work.tmp, tmp)
				return e
			}
			fs.quota.add(dirfd, name)
		}
		return e
	}
	if !fs.can().mknod && !fs.can().xattr {
		// A .wh. file may stand beside the object: hide first, then move.
		if e := fs.putWhiteout(d, dirfd, name); e != 0 {
			return e
		}
		return sys.Rename(dirfd, name, fs.work.tmp, tmp, 0)
	}
	if e := sys.Rename(dirfd, name, fs.work.tmp, tmp, 0); e != 0 {
		return e
	}
	return fs.putWhiteout(d, dirfd, name)
}

// dropWhiteout removes the whiteout of a name, whatever its form. Nothing else
// may stand at the name: it would go.
func (fs *FS) dropWhiteout(dirfd int, name string) syscall.Errno {
	e := fs.dropName(dirfd, name)
	if e == unix.ENOENT || !fs.can().mknod {
		if fs.dropDotWhiteout(dirfd, name) == 0 {
			return 0
		}
	}
	return e
}

// dropDotWhiteout removes the .wh. file of a name that an object has by now.
func (fs *FS) dropDotWhiteout(dirfd int, name string) syscall.Errno {
	wh, ok := dialect.DotWhName(name)
	if !ok {
		return unix.ENOENT
	}
	return fs.dropName(dirfd, wh)
}

func (fs *FS) dropName(dirfd int, name string) syscall.Errno {
	return fs.quota.removing(dirfd, name, func() syscall.Errno { return sys.Unlink(dirfd, name) })
}

// dotWhiteout says whether the name's whiteout in the upper is a .wh. file:
// then nothing stands at the name itself.
func dotWhiteout(dirfd int, name string) bool {
	var st sys.Stat
	return sys.StatAt(dirfd, name, &st) == unix.ENOENT
}

// setOpaque marks an upper directory so that nothing below it is merged.
func (fs *FS) setOpaque(fd int) syscall.Errno {
	fail.Point("opaque.begin")
	if fs.can().xattr {
		return sys.SetXattr(fd, "", fs.ns.Opaque(), []byte("y"), 0)
	}
	const mark = ".wh..wh..opq"
	f, e := sys.Open(fd, mark, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	switch e {
	case 0:
		sys.Close(f)
		fs.quota.add(fd, mark)
	case unix.EEXIST:
		e = 0
	}
	return e
}

// setImpure marks an upper directory as one that has copied-up children. It is
// best effort: only inode numbers depend on it. Precondition: d.mu is held for
// writing.
func (fs *FS) setImpure(d *dir, fd int) {
	if d.impure {
		return
	}
	e := fs.quota.around(fd, "", func() syscall.Errno { return sys.SetXattr(fd, "", fs.ns.Impure(), []byte("y"), 0) })
	d.impure = e == 0
}
