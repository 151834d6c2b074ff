package fusefs

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

func (w *worker) readlink() (int, syscall.Errno) {
	target, e := w.s.tree.Readlink(w.node())
	return copy(w.payload(), target), e
}

func (w *worker) statfs() (int, syscall.Errno) {
	var st union.Statfs
	e := w.s.tree.Statfs(&st)
	o, n := reply[fuse.StatfsOut](w)
	o.Blocks, o.Bfree, o.Bavail = st.Blocks, st.Bfree, st.Bavail
	o.Files, o.Ffree = st.Files, st.Ffree
	o.Bsize, o.Frsize, o.NameLen = st.Bsize, st.Frsize, st.Namelen
	return n, e
}

// setxattrExtra is what the longer struct of SETXATTR_EXT adds.
const setxattrExtra = 8

// setxattr takes the struct that was agreed on.
func (w *worker) setxattr() (int, syscall.Errno) {
	size, flags := *at[uint32](w.in[inHeaderSize:]), *at[uint32](w.in[inHeaderSize+4:])
	rest := w.rest
	if w.set.xattrExt {
		if len(rest) < setxattrExtra {
			return 0, syscall.EINVAL
		}
		rest = rest[setxattrExtra:]
	}
	name, value, ok := cutName(rest)
	if !ok || uint64(len(value)) != uint64(size) {
		return 0, syscall.EINVAL
	}
	w.name = name
	return 0, w.s.tree.SetXattr(w.node(), name, value, int(flags))
}

func (w *worker) removexattr() (int, syscall.Errno) {
	return 0, w.s.tree.RemoveXattr(w.node(), w.name)
}

func (w *worker) listxattr() (int, syscall.Errno) {
	in := as[fuse.GetXAttrIn](w)
	if in.Size == 0 {
		return w.replySize(w.s.tree.ListXattr(w.node(), nil))
	}
	p := w.payload()
	p = p[:min(uint64(in.Size), uint64(len(p)))]
	n, e := w.s.tree.ListXattr(w.node(), p)
	if e == 0 && uint(n) > uint(len(p)) {
		e = syscall.ERANGE
	}
	return n, e
}

// fsync serves FSYNC and FSYNCDIR. ENOSYS makes the kernel answer the client
// with success from then on, after it has written its dirty pages to us.
func (w *worker) fsync() (int, syscall.Errno) {
	if w.set.session.NoFsync {
		return 0, syscall.ENOSYS
	}
	dataOnly := as[fuse.FsyncIn](w).FsyncFlags&fuse.FSYNC_FDATASYNC != 0
	if w.op == &ops[opFsyncdir] {
		return 0, w.s.tree.FsyncDir(w.node(), dataOnly)
	}
	return 0, w.s.tree.Fsync(w.node(), dataOnly)
}

// lseek is SEEK_DATA and SEEK_HOLE; the kernel does the others.
func (w *worker) lseek() (int, syscall.Errno) {
	if w.set.session.NoLseek {
		return 0, syscall.ENOSYS
	}
	in := as[fuse.LseekIn](w)
	off, e := w.s.tree.Lseek(w.node(), int64(in.Offset), int(in.Whence))
	o, n := reply[fuse.LseekOut](w)
	o.Offset = uint64(off)
	return n, e
}

// kill clears suid and sgid for a change of data that the kernel leaves that
// to us for. The capability that decides is not in a request: root of the initial
// namespace is taken to have it, as the kernel asks for it there.
func (w *worker) kill(id node.ID) syscall.Errno {
	if w.header().Uid == 0 && !w.s.cfg.UserNS {
		return 0
	}
	return w.s.tree.KillSuidgid(id)
}

func (w *worker) fallocate() (int, syscall.Errno) {
	in := as[fuse.FallocateIn](w)
	off, length := int64(in.Offset), int64(in.Length)
	if off < 0 || length <= 0 || off+length < 0 {
		return 0, syscall.EINVAL
	}
	if e := w.kill(w.node()); e != 0 {
		return 0, e
	}
	return 0, w.s.tree.Fallocate(w.node(), in.Mode, off, length)
}

// copyChunk bounds one COPY_FILE_RANGE: the client can't be interrupted
// during it, and goes on from a short count by itself.
const copyChunk = 128 << 20

func (w *worker) copyFileRange() (int, syscall.Errno) {
	in := as[fuse.CopyFileRangeIn](w)
	offIn, offOut := int64(in.OffIn), int64(in.OffOut)
	if offIn < 0 || offOut < 0 || in.Flags != 0 {
		return 0, syscall.EINVAL
	}
	to := node.ID(in.NodeIdOut)
	if e := w.kill(to); e != 0 {
		return 0, e
	}
	k, e := w.s.tree.CopyFileRange(w.node(), offIn, to, offOut, int(min(in.Len, copyChunk)))
	o, n := reply[fuse.WriteOut](w)
	o.Size = uint32(k)
	return n, e
}
