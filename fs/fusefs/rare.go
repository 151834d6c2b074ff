package fusefs

import (
	"fmt"
	"runtime/debug"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// rare hands the request to go-fuse, which calls the rareFS below. It writes a
// whole reply, header included; finish writes the same header again.
func (w *worker) rare() (int, syscall.Errno) {
	n, st := w.set.rare.HandleRequest([][]byte{w.in}, [][]byte{w.out})
	if n < outHeaderSize {
		if st == fuse.OK {
			st = fuse.EIO
		}
		return 0, syscall.Errno(st)
	}
	h := (*fuse.OutHeader)(unsafe.Pointer(&w.out[0]))
	if h.Status != 0 {
		return 0, syscall.Errno(-h.Status)
	}
	return n - outHeaderSize, 0
}

// setxattrExtra is what the longer struct of SETXATTR_EXT adds.
const setxattrExtra = 8

// rareSetxattr checks what go-fuse takes on trust: that there is a name, and a
// value as long as the struct says.
func (w *worker) rareSetxattr() (int, syscall.Errno) {
	size := *at[uint32](w.in[inHeaderSize:])
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
	return w.rare()
}

// rareListxattr keeps the buffer that is asked for within ours.
func (w *worker) rareListxattr() (int, syscall.Errno) {
	in := as[fuse.GetXAttrIn](w)
	in.Size = min(in.Size, uint32(len(w.payload())))
	return w.rare()
}

// fsync serves FSYNC and FSYNCDIR. ENOSYS makes the kernel answer the client
// with success from then on, after it has written its dirty pages to us.
func (w *worker) fsync() (int, syscall.Errno) {
	if w.set.session.NoFsync {
		return 0, syscall.ENOSYS
	}
	return w.rare()
}

// lseek is SEEK_DATA and SEEK_HOLE; the kernel does the others.
func (w *worker) lseek() (int, syscall.Errno) {
	if w.set.session.NoLseek {
		return 0, syscall.ENOSYS
	}
	return w.rare()
}

// newRare makes the ProtocolServer for a session. It is told INIT as if the
// kernel had offered exactly what was agreed on: then its idea of which struct
// has which size is right, in a server that never saw INIT too.
func (s *Server) newRare(sess *Session, flags uint64) (*fuse.ProtocolServer, error) {
	fs := &rareFS{RawFileSystem: fuse.NewDefaultRawFileSystem(), s: s}
	ps := fuse.NewProtocolServer(fs, &fuse.MountOptions{
		Name:              "plyfs",
		Logger:            s.log,
		MaxWrite:          maxData,
		ExtraCapabilities: ^uint64(0),
		PanicHandler: func(v any) fuse.Status {
			s.log.Printf("fuse: panic: %v\n%s", v, debug.Stack())
			return fuse.EIO
		},
	})
	var in fuse.InitIn
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&in)), unsafe.Sizeof(in))
	copy(raw, sess.InitIn)
	in.Length, in.TotalExtlen = uint32(len(raw)), 0
	in.Opcode = opInit
	in.Flags, in.Flags2 = uint32(flags), uint32(flags>>32)
	out := make([]byte, 256)
	if n, st := ps.HandleRequest([][]byte{raw}, [][]byte{out}); n < outHeaderSize || st != fuse.OK || at[fuse.OutHeader](out).Status != 0 {
		return nil, fmt.Errorf("the INIT of this mount (protocol %d.%d) was not understood: unmount, and mount again", in.Major, in.Minor)
	}
	return ps, nil
}

// rareFS answers the rare requests out of the tree. What it doesn't define is
// ENOSYS by go-fuse's default, and never gets here.
type rareFS struct {
	fuse.RawFileSystem
	s *Server
}

// String is asked by go-fuse for a name.
func (*rareFS) String() string { return "plyfs" }

func (r *rareFS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	target, e := r.s.tree.Readlink(node.ID(h.NodeId))
	return []byte(target), fuse.Status(e)
}

func (r *rareFS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	var st union.Statfs
	e := r.s.tree.Statfs(&st)
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Bsize: st.Bsize, Frsize: st.Frsize, NameLen: st.Namelen,
	}
	return fuse.Status(e)
}

func (r *rareFS) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, e := r.s.tree.ListXattr(node.ID(h.NodeId), dest)
	if e == 0 && len(dest) > 0 && uint(n) > uint(len(dest)) {
		return 0, fuse.ERANGE
	}
	return uint32(n), fuse.Status(e)
}

func (r *rareFS) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	return fuse.Status(r.s.tree.SetXattr(node.ID(in.NodeId), attr, data, int(in.Flags)))
}

func (r *rareFS) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, attr string) fuse.Status {
	return fuse.Status(r.s.tree.RemoveXattr(node.ID(h.NodeId), attr))
}

// fsyncDatasync is FUSE_FSYNC_FDATASYNC.
const fsyncDatasync = 1

func (r *rareFS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return fuse.Status(r.s.tree.Fsync(node.ID(in.NodeId), in.FsyncFlags&fsyncDatasync != 0))
}

func (r *rareFS) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return fuse.Status(r.s.tree.FsyncDir(node.ID(in.NodeId), in.FsyncFlags&fsyncDatasync != 0))
}

// kill clears suid and sgid for a change of data that the kernel leaves that
// to us for. The capability that decides is not in a request: root of the initial
// namespace is taken to have it, as the kernel asks for it there.
func (r *rareFS) kill(uid uint32, id node.ID) syscall.Errno {
	if uid == 0 && !r.s.cfg.UserNS {
		return 0
	}
	return r.s.tree.KillSuidgid(id)
}

func (r *rareFS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	off, length := int64(in.Offset), int64(in.Length)
	if off < 0 || length <= 0 || off+length < 0 {
		return fuse.EINVAL
	}
	if e := r.kill(in.Uid, node.ID(in.NodeId)); e != 0 {
		return fuse.Status(e)
	}
	return fuse.Status(r.s.tree.Fallocate(node.ID(in.NodeId), in.Mode, off, length))
}

func (r *rareFS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	off, e := r.s.tree.Lseek(node.ID(in.NodeId), int64(in.Offset), int(in.Whence))
	out.Offset = uint64(off)
	return fuse.Status(e)
}

// copyChunk bounds one COPY_FILE_RANGE: the client can't be interrupted
// during it, and goes on from a short count by itself.
const copyChunk = 128 << 20

func (r *rareFS) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	offIn, offOut := int64(in.OffIn), int64(in.OffOut)
	if offIn < 0 || offOut < 0 || in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	if e := r.kill(in.Uid, node.ID(in.NodeIdOut)); e != 0 {
		return 0, fuse.Status(e)
	}
	n, e := r.s.tree.CopyFileRange(node.ID(in.NodeId), offIn, node.ID(in.NodeIdOut), offOut, int(min(in.Len, copyChunk)))
	return uint32(n), fuse.Status(e)
}
