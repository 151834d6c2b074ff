package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// order does what an xattr asks for that is never stored: owners and devices
// that the kernel can't name in this mount (dialect.ChownXattr). done is false
// for all other names.
func (fs *FS) order(id node.ID, name string, value []byte) (done bool, e syscall.Errno) {
	switch {
	case name != dialect.ChownXattr && name != dialect.MknodXattr:
		return false, 0
	case fs.writable() != 0:
		return true, unix.EROFS
	case !fs.hasOverride(0) || !fs.ids.uid.squash:
		// Where users have ids of their own this would be a chown for
		// everybody who may write a file.
		return true, unix.EOPNOTSUPP
	case name == dialect.ChownXattr:
		return true, fs.orderChown(id, value)
	}
	return true, fs.orderMknod(id, value)
}

// orderChown keeps an owner as data.
func (fs *FS) orderChown(id node.ID, value []byte) syscall.Errno {
	uid, gid, err := dialect.ParseChown(value)
	if err != nil {
		return unix.EINVAL
	}
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	if e := fs.upFor(id, r, &AttrChange{}); e != 0 {
		return e
	}
	return fs.change(id, func(i uint32, r *node.Rec, w at) syscall.Errno {
		o, e := fs.stored(i, r, w)
		if e != 0 {
			return e
		}
		if uid != -1 {
			o.UID = uint32(uid)
		}
		if gid != -1 {
			o.GID = uint32(gid)
		}
		// A chown clears suid and capabilities, as on any file system.
		if o.Mode&unix.S_IFMT == unix.S_IFREG {
			o.Mode = killSuidgid(o.Mode)
			_ = sys.RemoveXattr(w.dir.fd, w.name, xattrCaps)
		}
		return fs.quota.around(w.dir.fd, w.name, func() syscall.Errno {
			return fs.setOwner(w.dir.fd, w.name, o.UID, o.GID, o.Mode, o.Rdev)
		})
	})
}

// stored is what the upper keeps of an object's owner, where the mount may show
// another one. Preconditions as attrLocked.
func (fs *FS) stored(i uint32, r *node.Rec, w at) (dialect.Override, syscall.Errno) {
	var a Attr
	if e := fs.attrLocked(i, r, &a); e != 0 {
		return dialect.Override{}, e
	}
	o := dialect.Override{UID: fs.ids.uid.store(a.UID), GID: fs.ids.gid.store(a.GID), Mode: a.Mode, Rdev: decodeDev(a.Rdev), HasType: true}
	if had, ok := fs.record(w); ok {
		o.UID, o.GID = had.UID, had.GID
	}
	return o, 0
}

// record reads an upper object's record of virtual ownership.
func (fs *FS) record(w at) (dialect.Override, bool) {
	var buf [128]byte
	n, e := sys.GetXattr(w.dir.fd, w.name, fs.layers[0].ovName, buf[:])
	if e != 0 {
		return dialect.Override{}, false
	}
	o, err := dialect.ParseOverride(buf[:n])
	return o, err == nil
}

// orderMknod makes a device of an empty regular file of the upper layer. Its node
// goes: the name leads to a new one, of the new type.
func (fs *FS) orderMknod(id node.ID, value []byte) syscall.Errno {
	mode, dev, err := dialect.ParseMknod(value)
	if t := mode & unix.S_IFMT; err != nil || t != unix.S_IFCHR && t != unix.S_IFBLK {
		return unix.EINVAL
	}
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	e := fs.change(id, func(i uint32, r *node.Rec, w at) syscall.Errno {
		var a Attr
		if e := fs.attrLocked(i, r, &a); e != 0 {
			return e
		}
		if !r.Has(node.Upper) || r.Has(node.Dead) || r.Type != unix.DT_REG || a.Size != 0 || a.Nlink != 1 {
			return unix.EINVAL
		}
		return fs.quota.around(w.dir.fd, w.name, func() syscall.Errno {
			return fs.setOwner(w.dir.fd, w.name, fs.ids.uid.store(a.UID), fs.ids.gid.store(a.GID), mode, decodeDev(dev))
		})
	})
	if e == 0 {
		fs.detach(id)
	}
	return e
}
