package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// xattrMode says how a layer keeps xattr names: where owners are kept in
// user.containers.*, so are some names. The legacy name of that form has no
// such rule.
func (l *layerInfo) xattrMode() layer.XattrPermissions {
	if l.ovName == dialect.OverrideUserLegacy {
		return layer.XattrPermNone
	}
	return l.override
}

func isACL(name string) bool { return name == xattrAccessACL || name == xattrDefaultACL }

// GetXattr reads an xattr; an empty p asks for the size.
func (fs *FS) GetXattr(id node.ID, name string, p []byte) (n int, e syscall.Errno) {
	if fs.o.NoACL && isACL(name) {
		return 0, unix.EOPNOTSUPP
	}
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	r := fs.t.Get(id)
	if r == nil {
		return 0, unix.ESTALE
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	if name == xattrCaps && r.Has(node.NoCaps) {
		return 0, unix.ENODATA // asked before each first write, and each chown
	}
	var buf [sys.NameMax + 1]byte
	disk, e := dialect.ClientToDisk(name, buf[:], fs.layers[r.Layer].xattrMode())
	if e == unix.EPERM {
		e = unix.ENODATA // it is there for us only
	}
	if e != 0 {
		return 0, e
	}
	bare := fs.bare(id.Index(), r, name)
	if bare != nil && bare.Load() {
		return 0, unix.ENODATA
	}
	w, e := fs.where(id.Index(), r)
	if e != 0 {
		return 0, e
	}
	n, e = sys.GetXattr(w.dir.fd, w.name, disk, p)
	w.release()
	if bare != nil && e == unix.ENODATA {
		bare.Store(true)
	}
	if e == 0 && len(p) > 0 && isACL(name) && fs.shifts() {
		dialect.ShiftIDs(p[:n], fs.ids.uid.show, fs.ids.gid.show)
	}
	return n, e
}

// SetXattr sets an xattr.
func (fs *FS) SetXattr(id node.ID, name string, value []byte, flags int) syscall.Errno {
	if fs.o.NoACL && isACL(name) {
		return unix.EOPNOTSUPP
	}
	if done, e := fs.order(id, name, value); done {
		return e
	}
	if e := fs.quota.room(int64(len(value))); e != 0 {
		return e
	}
	e := fs.changeXattr(id, name, func(w at, disk string) syscall.Errno {
		if name == xattrAccessACL && fs.hasOverride(0) {
			if e := fs.modeOfACL(id, w, value); e != 0 {
				return e
			}
		}
		switch {
		case name == xattrCaps:
			// Others who hold the node for reading, as we do, clear nothing else.
			fs.t.Rec(id.Index()).Clear(node.NoCaps)
			value = fs.capsToDisk(value)
		case isACL(name) && fs.shifts():
			value = append([]byte(nil), value...)
			dialect.ShiftIDs(value, fs.ids.uid.store, fs.ids.gid.store)
		}
		return sys.SetXattr(w.dir.fd, w.name, disk, value, flags)
	})
	if e != 0 {
		return e
	}
	return fs.syncAttrs(id)
}

// RemoveXattr removes an xattr.
func (fs *FS) RemoveXattr(id node.ID, name string) syscall.Errno {
	// What is not there is not removed: no copy-up for that.
	// (An upper file system takes the removal of an ACL that is not there for
	// done, so it is asked; overlayfs says ENODATA for a lower object.)
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	if !isACL(name) || !r.Has(node.Upper) {
		if _, e := fs.GetXattr(id, name, nil); e == unix.ENODATA {
			return e
		}
	}
	e := fs.changeXattr(id, name, func(w at, disk string) syscall.Errno {
		return sys.RemoveXattr(w.dir.fd, w.name, disk)
	})
	if e != 0 {
		return e
	}
	return fs.syncAttrs(id)
}

func (fs *FS) changeXattr(id node.ID, name string, fn func(w at, disk string) syscall.Errno) syscall.Errno {
	if e := fs.writable(); e != 0 {
		return e
	}
	var buf [sys.NameMax + 1]byte
	disk, e := dialect.ClientToDisk(name, buf[:], fs.layers[0].xattrMode())
	if e != 0 {
		return e
	}
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	if e := fs.upFor(id, r, &AttrChange{}); e != 0 {
		return e
	}
	if r.Has(node.Dir) && name == xattrDefaultACL {
		defer fs.forgetDefaultACL(id)
	}
	return fs.view(id, func(_ uint32, _ *node.Rec, w at) syscall.Errno {
		return fs.quota.around(w.dir.fd, w.name, func() syscall.Errno { return fn(w, disk) })
	})
}

// modeOfACL puts the permissions that an access ACL grants into the mode that
// is kept as data: a file system with the mode in the inode does that itself.
func (fs *FS) modeOfACL(id node.ID, w at, value []byte) syscall.Errno {
	acl, err := dialect.ParseACL(value)
	if err != nil {
		return unix.EINVAL
	}
	perm, _ := dialect.EquivMode(acl)
	var a Attr
	i := id.Index()
	r := fs.t.Rec(i)
	if e := fs.attrLocked(i, r, &a); e != 0 || len(acl) == 0 {
		return e
	}
	return fs.changeOwner(w, r, SetMode, &AttrChange{Mode: a.Mode&0o7000 | perm&0o777}, &a)
}

// shifts says whether ids in a layer are not those of the mount; then ids
// inside ACLs are shifted as owners are.
func (fs *FS) shifts() bool {
	return fs.ids.uid.ranges != nil || fs.ids.gid.ranges != nil || fs.ids.uid.squash || fs.ids.gid.squash
}

// forgetDefaultACL makes the next create look again.
func (fs *FS) forgetDefaultACL(id node.ID) {
	if d := fs.dirs.get(id.Index()); d != nil {
		d.mu.Lock()
		d.defACL = 0
		d.mu.Unlock()
	}
}

// ListXattr lists xattr names, each ended by a NUL; an empty p asks for the
// size.
func (fs *FS) ListXattr(id node.ID, p []byte) (int, syscall.Errno) {
	if fs.knownBare(id) {
		return 0, 0
	}
	var list []byte
	e := fs.view(id, func(_ uint32, r *node.Rec, w at) (e syscall.Errno) {
		list, e = sys.ListXattrs(w.dir.fd, w.name)
		list = dialect.FilterList(list, fs.layers[r.Layer].xattrMode())
		return e
	})
	if e != 0 {
		return 0, e
	}
	if len(p) == 0 {
		return len(list), 0
	}
	if len(list) > len(p) {
		return 0, unix.ERANGE
	}
	return copy(p, list), 0
}

// capsToDisk turns a capability that names the root of the mount's user
// namespace into one without a root id where the layer is not tied to that
// namespace: a layer must not carry an id of one host.
func (fs *FS) capsToDisk(v []byte) []byte {
	c, err := dialect.ParseCaps(v)
	if err != nil || len(fs.ids.uid.ranges) == 0 {
		return v
	}
	return c.V2().Append(nil)
}
