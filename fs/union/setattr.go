package union

import (
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

const (
	anyTimes = SetAtime | SetMtime | SetAtimeNow | SetMtimeNow
	anyAttr  = SetMode | SetUID | SetGID | SetSize | KillSuidgid | anyTimes
)

// SetAttr changes attributes and answers the new ones.
//
// The kernel sends the times that it keeps itself (writeback cache) after
// every unlink, link and rename, for files that nobody has changed: such a
// request never copies up.
func (fs *FS) SetAttr(c *Caller, id node.ID, ch *AttrChange, a *Attr) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	v := ch.Valid & anyAttr
	if v == 0 {
		return fs.GetAttr(id, a)
	}
	if v == SetMtime && !fs.flushedOther(id, r, ch.Mtime) {
		if e := fs.GetAttr(id, a); e != 0 || a.Mtime == ch.Mtime {
			return e
		}
	}
	if e := fs.writable(); e != 0 {
		return e
	}
	if v&(SetUID|SetGID) != 0 && !fs.hasOverride(0) && !fs.ids.uid.squash && !fs.ids.gid.squash {
		v &^= KillSuidgid // a chown does that by itself, for whomever
	}
	if e := fs.upFor(id, r, ch); e != 0 {
		return e
	}
	if v&SetSize != 0 {
		if e := fs.truncate(id, ch.Size); e != 0 {
			return e
		}
	}
	e := fs.change(id, func(i uint32, r *node.Rec, w at) syscall.Errno {
		*a = Attr{Mode: uint32(r.Type) << 12}
		if fs.hasOverride(0) || v&KillSuidgid != 0 {
			if e := fs.attrLocked(i, r, a); e != 0 {
				return e
			}
		}
		if v&(SetMode|SetUID|SetGID|KillSuidgid) != 0 {
			e := fs.quota.around(w.dir.fd, w.name, func() syscall.Errno { return fs.changeOwner(w, r, v, ch, a) })
			if e != 0 {
				return e
			}
		}
		if v&anyTimes != 0 {
			if e := fs.utimes(w.dir.fd, w.name, timespec(v, SetAtime, SetAtimeNow, ch.Atime), timespec(v, SetMtime, SetMtimeNow, ch.Mtime)); e != 0 {
				return e
			}
		}
		fs.flushed(r, v, ch)
		return fs.attrLocked(i, r, a)
	})
	// Times alone come with every write-back; fsync(2) is for those.
	if e != 0 || v&(SetMode|SetUID|SetGID) == 0 && !r.Has(node.Dir) {
		return e
	}
	return fs.syncAttrs(id)
}

// syncAttrs makes a change of attributes durable when fsync=strict asks for it.
// What can't be opened can't be synced: links, devices.
func (fs *FS) syncAttrs(id node.ID) syscall.Errno {
	r := fs.t.Get(id)
	switch {
	case fs.o.Fsync != layer.FsyncStrict || r == nil:
		return 0
	case r.Has(node.Dir):
		return fs.FsyncDir(id, false)
	case r.Type == unix.DT_REG:
		return fs.Fsync(id, false)
	}
	return 0
}

// flushed remembers the mtime that the kernel has set. With the writeback cache
// it is the kernel that keeps a file's times; the data that belongs to them may
// come later than they do (write-back sends WRITE and SETATTR side by side), and
// must not change them then. Precondition: the node's loc is held for writing.
func (fs *FS) flushed(r *node.Rec, v uint32, ch *AttrChange) {
	switch {
	case !fs.writeback() || r.Type != unix.DT_REG:
	case v&(SetMtime|SetMtimeNow) == SetMtime:
		r.Set(node.Flushed)
		r.Mtime, r.MtimeNs = ch.Mtime.Sec, ch.Mtime.Nsec
	case v&SetMtimeNow != 0:
		r.Clear(node.Flushed)
	}
}

// flushedOther says that an upper file's mtime is known to be another one.
func (fs *FS) flushedOther(id node.ID, r *node.Rec, t Time) bool {
	if !fs.writeback() || !r.Has(node.Upper|node.Flushed) {
		return false
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	return r.Has(node.Flushed) && t != Time{r.Mtime, r.MtimeNs}
}

// keepMtime puts the time back after a write. Whatever was newer than that
// time, the kernel will tell: but for a mount of a user namespace that does not
// map the first root, where the kernel's own threads write data back and can't
// send the time (fuse_get_req() answers EOVERFLOW). There a time that is not of
// just now is not that of this write, which is later: the write's own time stays.
func (fs *FS) keepMtime(id node.ID, fd int) {
	if !fs.writeback() {
		return
	}
	r := fs.t.Get(id)
	if r == nil {
		return
	}
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	if !r.Has(node.Flushed) || fs.ids.uid.known != nil && time.Since(time.Unix(r.Mtime, int64(r.MtimeNs))).Abs() > flushWithin {
		return
	}
	ts := unix.Timespec{Sec: tvSec(r.Mtime), Nsec: tvNsec(r.MtimeNs)}
	_ = sys.UtimesFD(fd, unix.Timespec{Nsec: unix.UTIME_OMIT}, ts)
}

// flushWithin is how far apart a file's data and its time may come, when both are
// of one flush.
const flushWithin = 2 * time.Second

// writeback says whether the kernel keeps sizes and times of files itself.
func (fs *FS) writeback() bool { return !fs.o.NoWriteback && !fs.o.Live && fs.backing == nil }

// upFor copies up what the change needs: a truncation no data beyond the new
// end, a change of metadata none at all with metacopy=on.
func (fs *FS) upFor(id node.ID, r *node.Rec, ch *AttrChange) syscall.Errno {
	if r.Has(node.Dir) {
		return fs.upDir(id.Index())
	}
	if ch.Valid&SetSize == 0 {
		return fs.copyUp(id, wholeFile, true)
	}
	size := int64(wholeFile)
	if ch.Size < 1<<62 {
		size = int64(ch.Size)
	}
	return fs.copyUp(id, size, false)
}

// truncate sets the length of an upper file.
func (fs *FS) truncate(id node.ID, size uint64) syscall.Errno {
	if size > 1<<63-1 {
		return unix.EFBIG
	}
	p, e := fs.fileFD(id, true)
	if e != 0 {
		return e
	}
	defer p.release()
	// A truncation that changes nothing leaves the mtime; the kernel's
	// writeback cache says so by not naming one.
	var st sys.Stat
	keep := fs.writeback() && sys.StatFD(p.fd, &st) == 0
	e = fs.grow(p.fd, 0, func() syscall.Errno { return sys.Truncate(p.fd, int64(size)) })
	if e == 0 && keep {
		_ = sys.UtimesFD(p.fd, unix.Timespec{Nsec: unix.UTIME_OMIT}, st.Mtim)
	}
	return e
}

// changeOwner changes owner and mode, in that order: a chown clears suid and
// capabilities, as it does on any file system. a is the state before; without
// virtual ownership and KillSuidgid only its type is looked at.
func (fs *FS) changeOwner(w at, r *node.Rec, v uint32, ch *AttrChange, a *Attr) syscall.Errno {
	mode := a.Mode
	if v&KillSuidgid != 0 {
		mode = killSuidgid(mode)
	}
	if v&SetMode != 0 {
		mode = mode&unix.S_IFMT | ch.Mode&0o7777
	}
	owner := v&(SetUID|SetGID) != 0
	if fs.hasOverride(0) && r.Type != unix.DT_LNK {
		if !owner && mode == a.Mode {
			return 0
		}
		uid, gid := fs.ids.uid.store(a.UID), fs.ids.gid.store(a.GID)
		if fs.ids.uid.squash || fs.ids.gid.squash {
			if o, ok := fs.record(w); ok {
				uid, gid = o.UID, o.GID // the mount shows another one
			}
		}
		if v&SetUID != 0 {
			uid = fs.ids.uid.store(ch.UID)
		}
		if v&SetGID != 0 {
			gid = fs.ids.gid.store(ch.GID)
		}
		if owner && v&SetMode == 0 && mode&unix.S_IFMT == unix.S_IFREG {
			mode = killSuidgid(mode)
			_ = sys.RemoveXattr(w.dir.fd, w.name, xattrCaps)
		}
		return fs.setOwner(w.dir.fd, w.name, uid, gid, mode, decodeDev(a.Rdev))
	}
	if owner {
		uid, gid := -1, -1
		if v&SetUID != 0 {
			uid = int(fs.ids.uid.store(ch.UID))
		}
		if v&SetGID != 0 {
			gid = int(fs.ids.gid.store(ch.GID))
		}
		e := sys.Chown(w.dir.fd, w.name, uid, gid)
		if e != 0 && (fs.ids.uid.squash || fs.ids.gid.squash) {
			e = 0 // every owner is shown as one: there is nothing to change
		}
		if e != 0 {
			return e
		}
		if v&SetMode == 0 && v&KillSuidgid == 0 {
			return 0
		}
	}
	if v&SetMode == 0 && mode == a.Mode {
		return 0
	}
	if r.Type == unix.DT_LNK {
		return unix.EOPNOTSUPP
	}
	return sys.Chmod(w.dir.fd, w.name, mode&0o7777)
}

// killSuidgid is what the kernel does to the mode of a file that somebody
// writes to: setattr_should_drop_suidgid().
func killSuidgid(mode uint32) uint32 {
	if mode&unix.S_IFMT != unix.S_IFREG {
		return mode
	}
	mode &^= unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		mode &^= unix.S_ISGID
	}
	return mode
}

func timespec(v, set, now uint32, t Time) unix.Timespec {
	switch {
	case v&now != 0:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case v&set != 0:
		ts := unix.Timespec{}
		ts.Sec = tvSec(t.Sec)
		ts.Nsec = tvNsec(t.Nsec)
		return ts
	}
	return unix.Timespec{Nsec: unix.UTIME_OMIT}
}

// KillSuidgid does to a file what a write by somebody without CAP_FSETID does.
// The kernel's FUSE does not ask for it with fallocate(2) and
// copy_file_range(2).
func (fs *FS) KillSuidgid(id node.ID) syscall.Errno {
	var a Attr
	if e := fs.GetAttr(id, &a); e != 0 {
		return e
	}
	if killSuidgid(a.Mode) == a.Mode {
		return 0
	}
	if e := fs.copyUp(id, wholeFile, false); e != 0 {
		return e
	}
	return fs.chmodKill(id, nil)
}

// chmodKill clears suid and sgid of an upper file before a write. The sgid of a
// file that its group can't execute goes when the writer, if it is known, has
// another group and isn't root of the server's namespace, who is taken to have
// CAP_FSETID there (setattr_should_drop_sgid). Of supplementary groups a request
// says nothing; such an sgid has no meaning.
func (fs *FS) chmodKill(id node.ID, c *Caller) syscall.Errno {
	var a Attr
	return fs.view(id, func(i uint32, r *node.Rec, w at) syscall.Errno {
		if e := fs.attrLocked(i, r, &a); e != 0 {
			return e
		}
		return fs.quota.around(w.dir.fd, w.name, func() syscall.Errno {
			_ = sys.RemoveXattr(w.dir.fd, w.name, xattrCaps)
			mode := a.Mode &^ (unix.S_ISUID | unix.S_ISGID)
			if c != nil && c.UID != 0 && c.GID != a.GID && a.Mode&unix.S_IFMT == unix.S_IFREG && mode != a.Mode {
				return fs.changeOwner(w, r, SetMode, &AttrChange{Mode: mode}, &a)
			}
			return fs.changeOwner(w, r, KillSuidgid, &AttrChange{}, &a)
		})
	})
}
