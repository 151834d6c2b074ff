package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// GetAttr answers stat(2).
func (fs *FS) GetAttr(id node.ID, a *Attr) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	return fs.getAttr(id, a)
}

// getAttr is GetAttr with fs.renameMu held.
func (fs *FS) getAttr(id node.ID, a *Attr) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	return fs.attrLocked(id.Index(), r, a)
}

// attrLocked fills a. Preconditions: fs.renameMu and the node's loc are held.
func (fs *FS) attrLocked(i uint32, r *node.Rec, a *Attr) syscall.Errno {
	ix, ent := fs.baseNode(i, r)
	if blk, known := inFile(ix, ent); known != nil {
		var st sys.Stat
		fs.statOf(known, r.Layer, &st)
		fs.fillKnown(a, &st, r.Layer, blk, known)
		fs.adjust(i, r, a)
		return 0
	}
	if st := fs.baseStat(r, ix, ent); st != nil {
		if e := fs.fill(a, st, r.Layer, at{}); e != 0 {
			return e
		}
		fs.adjust(i, r, a)
		return 0
	}
	w, e := fs.where(i, r)
	if e != 0 {
		if r.Has(node.Dir | node.Dead) {
			*a = Attr{Ino: r.Ino, Mode: unix.S_IFDIR | 0o755, Blksize: 4096}
			return 0
		}
		return e
	}
	defer w.release()
	var st sys.Stat
	if e := sys.StatAt(w.dir.fd, w.name, &st); e != 0 {
		return e
	}
	if e := fs.fill(a, &st, r.Layer, w); e != 0 {
		return e
	}
	a.Asked = true
	fs.adjust(i, r, a)
	return 0
}

// adjust turns what the layer says of an object into what the mount says of
// the node.
func (fs *FS) adjust(i uint32, r *node.Rec, a *Attr) {
	a.Ino = r.Ino
	if r.Has(node.Dir) {
		switch {
		case r.Has(node.Dead):
			a.Nlink = 0
		case fs.o.StaticNlink:
			a.Nlink = 1
		default:
			if d := fs.dirs.get(i); d != nil && fs.merged(r, d) {
				a.Nlink = 1
			}
		}
		return
	}
	a.Unsettled = fs.backing != nil && r.Opens().Writers > 0
	n := int(a.Nlink)
	if r.Has(node.Orphan) {
		n--
	}
	if r.Has(node.Sticky) {
		n += int(r.Delta)
	}
	a.Nlink = uint32(max(n, 0))
	if r.Has(node.Meta) {
		fs.metaBlocks(i, r, a)
	}
}

// metaBlocks takes the block count of a metacopy file from its data.
func (fs *FS) metaBlocks(i uint32, r *node.Rec, a *Attr) {
	if _, known := inFile(fs.baseNode(i, r)); known != nil {
		if known.Flags&index.Meta != 0 {
			a.Blocks = known.Rdev
		}
		return
	}
	w, e := fs.whereIn(i, r, r.Data)
	if e != 0 {
		return
	}
	defer w.release()
	var st sys.Stat
	if sys.StatAt(w.dir.fd, w.name, &st) == 0 {
		a.Blocks = uint64(st.Blocks)
	}
}

// fill is struct stat as the mount shows it: ids mapped, virtual ownership
// applied.
func (fs *FS) fill(a *Attr, st *sys.Stat, n uint16, w at) syscall.Errno {
	show(a, st)
	if l := &fs.layers[n]; l.override != layer.XattrPermNone {
		if t := st.Mode & unix.S_IFMT; t == unix.S_IFREG || t == unix.S_IFDIR {
			fs.applyOverride(a, l, w)
		}
	}
	a.UID, a.GID = fs.ids.uid.show(a.UID), fs.ids.gid.show(a.GID)
	return 0
}

// show is struct stat as it is on disk.
func show(a *Attr, st *sys.Stat) {
	*a = Attr{
		Ino: st.Ino, Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		Atime: Time{int64(st.Atim.Sec), uint32(st.Atim.Nsec)},
		Mtime: Time{int64(st.Mtim.Sec), uint32(st.Mtim.Nsec)},
		Ctime: Time{int64(st.Ctim.Sec), uint32(st.Ctim.Nsec)},
		Mode:  st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
		Rdev: encodeDev(uint64(st.Rdev)), Blksize: uint32(st.Blksize),
	}
}

// applyOverride shows the owner and mode that are kept as data. A value that
// can't be read is ignored, as containers/storage does: the object is then
// what the layer says.
func (fs *FS) applyOverride(a *Attr, l *layerInfo, w at) {
	var buf [128]byte
	n, e := sys.GetXattr(w.dir.fd, w.name, l.ovName, buf[:])
	if e != 0 {
		return
	}
	applyRecord(a, buf[:n])
}

// applyRecord applies the record of virtual ownership.
func applyRecord(a *Attr, record []byte) {
	o, err := dialect.ParseOverride(record)
	if err != nil {
		return
	}
	a.UID, a.GID = o.UID, o.GID
	typ := a.Mode & unix.S_IFMT
	if t := o.Mode & unix.S_IFMT; t != 0 && typ == unix.S_IFREG && t != unix.S_IFDIR {
		typ = t
		a.Rdev = encodeDev(o.Rdev)
	}
	a.Mode = typ | o.Mode&0o7777
}

// encodeDev is the kernel's new_encode_dev of a st_rdev.
func encodeDev(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

// Statx is GetAttr with the birth time where the layer keeps one.
func (fs *FS) Statx(id node.ID, a *Attr) syscall.Errno {
	return fs.view(id, func(i uint32, r *node.Rec, w at) syscall.Errno {
		if e := fs.attrLocked(i, r, a); e != 0 {
			return e
		}
		if sec, nsec, ok := sys.Btime(w.dir.fd, w.name); ok {
			a.Btime, a.HasBtime = Time{sec, nsec}, true
		}
		return 0
	})
}

// Readlink reads a symbolic link.
func (fs *FS) Readlink(id node.ID) (target string, e syscall.Errno) {
	if target = fs.knownTarget(id); target != "" {
		return target, 0
	}
	e = fs.view(id, func(_ uint32, r *node.Rec, w at) (e syscall.Errno) {
		target, e = fs.readlinkAt(r.Layer, w)
		return e
	})
	return target, e
}

// readlinkAt also knows the links of containers/storage that are kept as
// regular files, their target being the content.
func (fs *FS) readlinkAt(n uint16, w at) (string, syscall.Errno) {
	target, e := sys.Readlink(w.dir.fd, w.name)
	if e != unix.EINVAL || fs.layers[n].override == layer.XattrPermNone {
		return target, e
	}
	fd, e := sys.Open(w.dir.fd, w.name, unix.O_RDONLY, 0)
	if e != 0 {
		return "", e
	}
	defer sys.Close(fd)
	buf := make([]byte, unix.PathMax)
	k, e := sys.Pread(fd, buf, 0)
	return string(buf[:k]), e
}

// Statfs answers statfs(2) for the layer that is written to.
func (fs *FS) Statfs(out *Statfs) syscall.Errno {
	fd := fs.layers[0].fd
	if fd < 0 {
		fd = fs.layers[1].fd
	}
	var st unix.Statfs_t
	if e := sys.Statfs(fd, &st); e != 0 {
		return e
	}
	*out = Statfs{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), Namelen: uint32(st.Namelen),
	}
	fs.quota.statfs(out)
	return 0
}
