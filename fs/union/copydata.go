package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// copyData gives a metacopy file its data: into the upper file that is there,
// which shows the lower's data until the mark is taken off.
//
// Analogous to fs/overlayfs/copy_up.c:ovl_copy_up_meta_inode_data().
func (fs *FS) copyData(id node.ID, size int64) syscall.Errno {
	src, dst := -1, -1
	var length int64
	e := fs.view(id, func(i uint32, r *node.Rec, w at) (e syscall.Errno) {
		if dst, e = fs.openOwn(w.dir.fd, w.name, unix.O_RDWR); e != 0 {
			return e
		}
		d, e := fs.whereIn(i, r, r.Data)
		if e != 0 {
			return e
		}
		defer d.release()
		src, e = fs.openLower(d.dir.fd, d.name)
		return e
	})
	defer func() {
		for _, fd := range [...]int{src, dst} {
			if fd >= 0 {
				sys.Close(fd)
			}
		}
	}()
	if e != 0 {
		return e
	}
	var st sys.Stat
	if e := sys.StatFD(dst, &st); e != 0 {
		return e
	}
	if length = st.Size; size != wholeFile {
		length = min(length, size)
	}
	if e := fs.quota.room(length); e != 0 {
		return e
	}
	e = fs.quota.around(dst, "", func() syscall.Errno {
		moved, e := sys.CopyFile(dst, src, length, nil)
		fs.tally.CopiedUp.Add(moved)
		return e
	})
	if e != 0 {
		return e
	}
	fail.Point("copydata.copied")
	if length < st.Size {
		// Before the mark goes: what is beyond was not copied.
		if e := fs.quota.around(dst, "", func() syscall.Errno { return sys.Truncate(dst, length) }); e != 0 {
			return e
		}
	}
	_ = sys.UtimesFD(dst, st.Atim, st.Mtim)
	if fs.o.Fsync != layer.FsyncVolatile {
		if e := fs.syncCopy(dst); e != 0 {
			return e
		}
	}
	fail.Point("copydata.synced")
	e = fs.quota.around(dst, "", func() syscall.Errno {
		if e := sys.RemoveXattr(dst, "", fs.ns.Metacopy()); e != 0 && e != unix.ENODATA {
			return e
		}
		fail.Point("copydata.unmarked")
		_ = sys.RemoveXattr(dst, "", fs.ns.Redirect())
		return 0
	})
	if e != 0 {
		return e
	}
	i := id.Index()
	l := fs.loc(i)
	l.Lock()
	defer l.Unlock()
	r := fs.t.Rec(i)
	fs.fds.drop(fs.key(i, r.Data, kindFile))
	fs.fds.drop(fs.key(i, r.Data, kindMeta))
	r.Clear(node.Meta)
	fs.metaPaths.set(id, "")
	return 0
}
