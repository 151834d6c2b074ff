package fusefs

import (
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/union"
)

// at is the struct at the start of b. The caller has checked the length.
func at[T any](b []byte) *T {
	var t T
	_ = b[unsafe.Sizeof(t)-1]
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

func (w *worker) read() (int, syscall.Errno) {
	in := as[fuse.ReadIn](w)
	p := w.payload()
	// A short answer would be taken for the end of the file.
	if uint64(in.Size) > uint64(len(p)) || int64(in.Offset) < 0 {
		return 0, syscall.EINVAL
	}
	p = p[:in.Size]
	n, e := w.s.tree.Read(w.node(), p, int64(in.Offset))
	if uint(n) > uint(len(p)) {
		return 0, syscall.EIO
	}
	w.place.Read(n)
	return n, e
}

// write serves WRITE. Only the flag says whether setuid is to go: write-back
// comes as uid 0, whoever dirtied the page.
func (w *worker) write() (int, syscall.Errno) {
	in := as[fuse.WriteIn](w)
	if uint64(in.Size) > uint64(len(w.rest)) || int64(in.Offset) < 0 {
		return 0, syscall.EINVAL
	}
	var kill *union.Caller
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		kill = w.who(0)
	}
	k, e := w.s.tree.Write(w.node(), w.rest[:in.Size], int64(in.Offset), kill)
	if e != 0 {
		return 0, e
	}
	w.place.Written(k)
	o, n := reply[fuse.WriteOut](w)
	o.Size = uint32(k)
	return n, 0
}

func (w *worker) getxattr() (int, syscall.Errno) {
	in := as[fuse.GetXAttrIn](w)
	if in.Size == 0 {
		return w.replySize(w.s.tree.GetXattr(w.node(), w.name, nil))
	}
	p := w.payload()
	p = p[:min(uint64(in.Size), uint64(len(p)))]
	k, e := w.s.tree.GetXattr(w.node(), w.name, p)
	if e == 0 && uint(k) > uint(len(p)) {
		e = syscall.ERANGE
	}
	return k, e
}

// replySize answers the question how large a value is.
func (w *worker) replySize(k int, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	o, n := reply[fuse.GetXAttrOut](w)
	o.Size = uint32(k)
	return n, 0
}

// The ioctls that we know, with the numbers of 64- and of 32-bit programs (the
// size in the number differs, the value is 32 bits in both). Everything else,
// the terminal questions that open() of some languages asks included, is ENOTTY.
//
// The kernel asks for the longer form of the flags by itself before it sets the
// short one. It isn't set: project ids are nothing that a union could keep.
const (
	getFlags64   = 0x80086601
	getFlags32   = 0x80046601
	setFlags64   = 0x40086602
	setFlags32   = 0x40046602
	getLongFlags = 0x801c581f // FS_IOC_FSGETXATTR
)

func ioctlSlow(w *worker) bool {
	switch as[fuse.IoctlIn](w).Cmd {
	case setFlags64, setFlags32:
		return notUpper(w)
	}
	return false
}

func (w *worker) ioctl() (int, syscall.Errno) {
	in := as[fuse.IoctlIn](w)
	switch in.Cmd {
	case getFlags64, getFlags32, getLongFlags:
		return w.ioctlGet(in)
	case setFlags64, setFlags32:
		if in.InSize < 4 || uint64(in.InSize) > uint64(len(w.rest)) || in.OutSize != 0 {
			return 0, syscall.EINVAL
		}
		if e := w.setFlags(*at[uint32](w.rest)); e != 0 {
			return 0, e
		}
		_, n := reply[fuse.IoctlOut](w)
		return n, 0
	}
	return 0, syscall.ENOTTY
}

// ioctlGet answers FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR with exactly as many
// bytes as were asked for: the kernel accepts no other number.
func (w *worker) ioctlGet(in *fuse.IoctlIn) (int, syscall.Errno) {
	_, n := reply[fuse.IoctlOut](w)
	p := w.payload()[n:]
	if in.OutSize < 4 || uint64(in.OutSize) > uint64(len(p)) {
		return 0, syscall.EINVAL
	}
	flags, e := w.s.tree.GetFlags(w.node())
	if e != 0 {
		return 0, e
	}
	if in.Cmd == getLongFlags {
		flags = longFlags(flags)
	}
	p = p[:in.OutSize]
	clear(p)
	*at[uint32](p) = flags
	return n + len(p), 0
}

// Flags of inodes, FS_*_FL.
const (
	flagSync        = 0x8
	flagImmutable   = 0x10
	flagAppend      = 0x20
	flagNoDump      = 0x40
	flagNoAtime     = 0x80
	flagDAX         = 0x2000000
	flagProjInherit = 0x20000000
)

// longFlags gives those that both forms have in the longer one, FS_XFLAG_*.
func longFlags(flags uint32) (long uint32) {
	for _, f := range [...][2]uint32{
		{flagSync, 0x20},
		{flagImmutable, 0x8},
		{flagAppend, 0x10},
		{flagNoDump, 0x80},
		{flagNoAtime, 0x40},
		{flagDAX, 0x8000},
		{flagProjInherit, 0x200},
	} {
		if flags&f[0] != 0 {
			long |= f[1]
		}
	}
	return long
}

// setFlags sets them. Where the kernel collects writes, files can't be made
// immutable or append-only: writes would be taken, and lost at close.
func (w *worker) setFlags(flags uint32) syscall.Errno {
	if flags&(flagImmutable|flagAppend) != 0 && w.set.session.NoLseek {
		return syscall.EOPNOTSUPP
	}
	return w.s.tree.SetFlags(w.node(), flags)
}
