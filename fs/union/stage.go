package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// stage makes the object in work/ with all that belongs to it.
func (fs *FS) stage(d *dir, parentfd int, tmp string, m *making, acl, over bool) (fd int, e syscall.Errno) {
	w := fs.work.tmp
	var pst sys.Stat
	if e := sys.StatAt(parentfd, "", &pst); e != 0 {
		return -1, e
	}
	var pattr Attr
	if e := fs.fill(&pattr, &pst, 0, at{keep(parentfd), ""}); e != 0 {
		return -1, e
	}
	if pattr.Mode&unix.S_ISGID != 0 {
		m.gid = fs.ids.gid.store(pattr.GID)
		if m.typ() == unix.S_IFDIR {
			m.mode |= unix.S_ISGID
		}
	}
	var access, def []byte
	if acl && m.typ() != unix.S_IFLNK {
		v, e := sys.ReadXattr(parentfd, "", xattrDefaultACL)
		if e != 0 {
			return -1, e
		}
		var err error
		if access, m.mode, def, err = dialect.Inherit(v, m.mode, m.typ() == unix.S_IFDIR); err != nil {
			return -1, unix.EIO
		}
	}
	private := *m
	fd, e = fs.makeRaw(w, tmp, &private, m.typ()|0o700&^0o100)
	if m.typ() == unix.S_IFDIR && e == 0 {
		e = sys.Chmod(w, tmp, 0o700)
	}
	if e == unix.EPERM && fs.hasOverride(0) && m.typ() != unix.S_IFLNK {
		e = fs.placeholder(tmp)
	}
	if e != 0 {
		return -1, e
	}
	fail.Point("create.raw")
	obj, name := w, tmp
	if fd >= 0 {
		obj, name = fd, ""
	}
	if over && m.typ() == unix.S_IFDIR {
		if dfd, e := sys.OpenDir(w, tmp); e != 0 {
			return fd, e
		} else {
			e = fs.setOpaque(dfd)
			sys.Close(dfd)
			if e != 0 {
				return fd, e
			}
		}
	}
	if e := fs.setOwner(obj, name, m.uid, m.gid, m.mode, decodeDev(m.rdev)); e != 0 {
		return fd, e
	}
	if access != nil {
		if e := sys.SetXattr(obj, name, xattrAccessACL, access, 0); e != 0 {
			return fd, e
		}
	}
	if def != nil {
		if e := sys.SetXattr(obj, name, xattrDefaultACL, def, 0); e != 0 {
			return fd, e
		}
	}
	_ = d
	return fd, 0
}

// unstage renames a staged object to its name. A whiteout that is there goes
// in the same step.
func (fs *FS) unstage(dirfd int, name, tmp string, m *making, over bool) syscall.Errno {
	w := fs.work.tmp
	if !over {
		e := sys.Rename(w, tmp, dirfd, name, unix.RENAME_NOREPLACE)
		if e == unix.EINVAL {
			e = sys.Rename(w, tmp, dirfd, name, 0)
		}
		return e
	}
	if dotWhiteout(dirfd, name) {
		if e := sys.Rename(w, tmp, dirfd, name, 0); e != 0 {
			return e
		}
		return fs.dropDotWhiteout(dirfd, name)
	}
	if m.typ() != unix.S_IFDIR {
		return fs.quota.removing(dirfd, name, func() syscall.Errno { return sys.Rename(w, tmp, dirfd, name, 0) })
	}
	if fs.can().exchange {
		return fs.quota.removing(dirfd, name, func() syscall.Errno {
			e := sys.Rename(w, tmp, dirfd, name, unix.RENAME_EXCHANGE)
			if e == 0 {
				fail.Point("create.exchanged")
				_ = sys.Unlink(w, tmp)
			}
			return e
		})
	}
	if e := fs.dropWhiteout(dirfd, name); e != 0 {
		return e
	}
	return sys.Rename(w, tmp, dirfd, name, 0)
}

const (
	xattrAccessACL  = "system.posix_acl_access"
	xattrDefaultACL = "system.posix_acl_default"
)

// hasDefaultACL says whether new objects in the directory inherit an ACL.
// Precondition: d.mu is held for writing.
func (fs *FS) hasDefaultACL(d *dir, dirfd int) bool {
	if fs.o.NoACL {
		return false
	}
	if d.defACL == 0 {
		d.defACL = 1
		if _, e := sys.GetXattr(dirfd, "", xattrDefaultACL, nil); e == 0 {
			d.defACL = 2
		}
	}
	return d.defACL == 2
}
