package union

import (
	"bytes"
	"strings"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// copyAttrs gives the copy the owner, mode, xattrs, ACLs, origin and times of
// the original. The owner comes first, since a chown clears suid and
// capabilities, and the times come last. fd is the copy when it could be opened, else -1.
func (fs *FS) copyAttrs(c *copied, fd int, tmp string) syscall.Errno {
	w, name := fs.work.tmp, tmp
	if fd >= 0 {
		w, name = fd, ""
	}
	uid, gid := c.st.Uid, c.st.Gid
	mode := c.st.Mode
	if fs.hasOverride(0) || fs.hasOverride(c.layer) {
		uid, gid = fs.ids.uid.store(c.attr.UID), fs.ids.gid.store(c.attr.GID)
		mode = c.attr.Mode
	}
	if e := fs.setOwner(w, name, uid, gid, mode, uint64(c.st.Rdev)); e != 0 {
		return e
	}
	if e := fs.copyXattrs(c, w, name); e != 0 {
		return e
	}
	fs.copyFlags(c, fd)
	if c.origin != nil {
		if e := sys.SetXattr(w, name, fs.ns.Origin(), c.origin, 0); e != 0 {
			c.origin = nil
		}
	}
	if c.private != nil {
		if e := sys.SetXattr(w, name, fs.ns.Plyfs(), c.private, 0); e != 0 {
			c.private = nil
		}
	}
	if typ := c.st.Mode & unix.S_IFMT; fs.live.on && (typ == unix.S_IFREG || typ == unix.S_IFDIR) {
		_ = sys.SetXattr(w, name, dialect.BaseXattr, baseOf(&c.st).Append(nil), 0)
	}
	return fs.utimes(w, name, c.st.Atim, c.st.Mtim)
}

// setOwner gives an upper object its owner and mode, as data where the upper
// keeps them so. Where the server may not chown (one uid, no privilege) it
// keeps the server's owner, as every file that such a server makes.
func (fs *FS) setOwner(dirfd int, name string, uid, gid, mode uint32, rdev uint64) syscall.Errno {
	typ := mode & unix.S_IFMT
	if fs.hasOverride(0) && typ != unix.S_IFLNK {
		var st sys.Stat
		if e := sys.StatAt(dirfd, name, &st); e != 0 {
			return e
		}
		real := st.Mode & unix.S_IFMT
		if real == unix.S_IFREG || real == unix.S_IFDIR {
			o := dialect.Override{UID: uid, GID: gid, Mode: mode, Rdev: rdev, HasType: true}
			if e := sys.SetXattr(dirfd, name, fs.layers[0].ovName, o.Append(nil), 0); e != 0 {
				return e
			}
			return sys.Chmod(dirfd, name, mode&0o777|backingMode(real))
		}
	}
	if uid != fs.myUID || gid != fs.myGID {
		if e := sys.Chown(dirfd, name, int(uid), int(gid)); e != 0 && !fs.mayNotChown(e) {
			return e
		}
	}
	if typ == unix.S_IFLNK {
		return 0
	}
	return sys.Chmod(dirfd, name, mode&0o7777)
}

// backingMode is what the server itself needs on an object whose real mode is
// kept as data.
func backingMode(typ uint32) uint32 {
	if typ == unix.S_IFDIR {
		return 0o700
	}
	return 0o600
}

// mayNotChown says whether a failed chown is what an unprivileged server must
// live with.
func (fs *FS) mayNotChown(e syscall.Errno) bool {
	return (e == unix.EPERM && !fs.root) || (e == unix.EINVAL && fs.ids.uid.known != nil) || e == unix.EOVERFLOW ||
		(e == unix.EPERM && (fs.ids.uid.squash || fs.ids.gid.squash))
}

// utimes sets both times of an object.
func (fs *FS) utimes(dirfd int, name string, a, m unix.Timespec) syscall.Errno {
	e := sys.Utimes(dirfd, name, a, m)
	if e == unix.EINVAL && name == "" {
		e = sys.UtimesFD(dirfd, a, m)
	}
	return e
}

// unseen runs fn, which changes names in an upper directory and nothing in the
// view, and puts the directory's times back: nobody changed anything.
func (fs *FS) unseen(dirfd int, fn func() syscall.Errno) syscall.Errno {
	var st sys.Stat
	known := sys.StatAt(dirfd, "", &st) == 0
	e := fn()
	if known {
		_ = fs.utimes(dirfd, "", st.Atim, st.Mtim)
	}
	return e
}

// copyXattrs copies all xattrs but those that mean something to a union
// filesystem. Unknown ones that the upper does not take are left out, ACLs and
// capabilities are not.
//
// Analogous to fs/overlayfs/copy_up.c:ovl_copy_xattr().
func (fs *FS) copyXattrs(c *copied, dirfd int, name string) syscall.Errno {
	list, e := sys.ListXattrs(c.src, "")
	if e != 0 {
		if e == unix.EOPNOTSUPP || e == unix.ENODATA || e == unix.EPERM || e == unix.EACCES {
			return 0
		}
		return e
	}
	for len(list) > 0 {
		i := bytes.IndexByte(list, 0)
		if i < 0 {
			i = len(list)
		}
		attr := string(list[:i])
		list = list[min(i+1, len(list)):]
		if attr == "" {
			continue
		}
		client, ok := dialect.DiskToClient(attr, make([]byte, 0, sys.NameMax+1), fs.layers[c.layer].xattrMode())
		if !ok {
			continue // it belongs to the form of the layer, not to the file
		}
		disk, e := dialect.ClientToDisk(client, make([]byte, 0, sys.NameMax+1), fs.layers[0].xattrMode())
		if e != 0 {
			continue
		}
		v, e := sys.ReadXattr(c.src, "", attr)
		if e == unix.ENODATA || e == unix.EOPNOTSUPP || e == unix.EACCES && fs.live.on {
			continue
		}
		if e == 0 {
			e = sys.SetXattr(dirfd, name, disk, v, 0)
		}
		must := client == xattrCaps || strings.HasPrefix(client, "system.posix_acl_")
		if e == unix.EOPNOTSUPP && !must {
			continue
		}
		if e == unix.EPERM && (!fs.root || strings.HasPrefix(attr, "security.") || strings.HasPrefix(attr, "trusted.")) {
			continue // not ours to set: a label, or a capability without the right to grant it
		}
		if e != 0 {
			return e
		}
	}
	return 0
}

const xattrCaps = "security.capability"

// copyFlags copies the inode flags that a user can set on a file that stays
// changeable; immutable and append-only are not put on an upper inode (the
// kernel keeps those two in overlay.protattr).
func (fs *FS) copyFlags(c *copied, fd int) {
	const keep = 0x40 | 0x80 | 0x8 | 0x10000 // FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL, FS_DIRSYNC_FL
	if fd < 0 || c.src <= 0 || c.size == 0 || c.isDir {
		return
	}
	f, e := sys.GetFlags(c.src)
	if e == 0 && f&keep != 0 {
		if have, e := sys.GetFlags(fd); e == 0 {
			_ = sys.SetFlags(fd, have|f&keep)
		}
	}
}

// originOf prepares the xattr that keeps the lower inode number: the kernel's
// form, unless it would break a lower hard link there; then our own. Called
// under view's locks.
func (fs *FS) originOf(w at, c *copied) {
	if fs.live.on {
		return
	}
	n := fs.inos.number(uint64(c.st.Dev))
	system := fs.inos.system(n, w.dir.fd)
	linked := c.st.Nlink > 1 && c.st.Mode&unix.S_IFMT != unix.S_IFDIR
	if !linked {
		if typ, fid, e := sys.Handle(w.dir.fd, w.name); e == 0 {
			o := dialect.NewOrigin(system.uuid, typ, fid)
			if ino, ok := o.Ino(); ok && ino == c.st.Ino && fs.inos.origin(newFSID(o.UUID, typ, fid)) == uint64(c.st.Dev) {
				c.origin = o.Append(nil)
				return
			}
		}
	}
	if fs.inos.origin(system.id) == uint64(c.st.Dev) {
		c.private = dialect.AppendPlyfsOrigin(nil, system.id, c.st.Ino)
	}
}

// syncDir makes the names in an upper directory durable.
func (fs *FS) syncDir(dirfd int) syscall.Errno {
	if fs.o.Fsync == layer.FsyncVolatile {
		return 0
	}
	fd, e := sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	return sys.Fsync(fd)
}
