package fusefs

import (
	"io"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"golang.org/x/sys/unix"
)

// traceNote is what a request leaves behind for its trace line.
type traceNote struct {
	path   string // of the node, before the op
	to     string // of the other node that the op names, if it does
	absent bool   // LOOKUP answered with a negative entry
}

// tracer writes one line per request:
//
//	WRITE n42 /etc/passwd size=12 off=4096 flags=0x1 = 24 bytes (31µs)
//	UNLINK n1 / "tmp" = ENOENT (4µs)
type tracer struct {
	mu  sync.Mutex
	w   io.Writer // protected by mu
	buf []byte    // protected by mu
}

// line writes the line of w's request, whose result is n bytes or e.
func (t *tracer) line(w *worker, n int, e syscall.Errno, took time.Duration) {
	h := w.header()
	t.mu.Lock()
	defer t.mu.Unlock()
	b := append(t.buf[:0], w.op.name...)
	if w.op.name == "UNKNOWN" {
		b = strconv.AppendUint(append(b, ' '), uint64(h.Opcode), 10)
	}
	b = append(b, " n"...)
	b = strconv.AppendUint(b, h.NodeId, 10)
	if w.note.path != "" {
		b = append(append(b, ' '), printable(w.note.path)...)
	}
	if w.name != "" {
		b = strconv.AppendQuote(append(b, ' '), w.name)
	}
	if w.name2 != "" {
		b = strconv.AppendQuote(append(b, ' '), w.name2)
	}
	if e == 0 || w.note.path != "" { // else it may not have been decoded
		b = w.appendArgs(b)
	}
	b = append(b, " = "...)
	switch {
	case e != 0:
		b = appendErrno(b, e)
	case w.note.absent:
		b = append(b, "absent"...)
	case w.op.silent:
		b = append(b, "no reply"...)
	default:
		if w.counted != 0 {
			b = strconv.AppendUint(append(b, 'n'), uint64(w.counted), 10)
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, " bytes"...)
	}
	b = append(append(append(b, " ("...), took.Round(time.Microsecond).String()...), ")\n"...)
	_, _ = t.w.Write(b) // a trace that can't be written must not stop the mount
	t.buf = b
}

// printable is s, quoted when it would break the line.
func printable(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return strconv.Quote(s)
		}
	}
	return s
}

func appendErrno(b []byte, e syscall.Errno) []byte {
	if name := unix.ErrnoName(e); name != "" {
		return append(b, name...)
	}
	return strconv.AppendInt(append(b, "errno "...), int64(e), 10)
}

// appendArgs adds the numbers that matter for an op.
func (w *worker) appendArgs(b []byte) []byte {
	num := func(key string, v uint64) {
		b = strconv.AppendUint(append(append(b, ' '), key...), v, 10)
	}
	hex := func(key string, v uint64) {
		b = strconv.AppendUint(append(append(b, ' '), key...), v, 16)
	}
	if len(w.in) < inHeaderSize+w.op.fixed {
		return b
	}
	switch w.header().Opcode {
	case opRead, opReaddir, opReaddirplus:
		in := as[fuse.ReadIn](w)
		num("size=", uint64(in.Size))
		num("off=", in.Offset)
	case opWrite:
		in := as[fuse.WriteIn](w)
		num("size=", uint64(in.Size))
		num("off=", in.Offset)
		hex("flags=0x", uint64(in.WriteFlags))
	case opSetattr:
		in := as[fuse.SetAttrIn](w)
		hex("valid=0x", uint64(in.Valid))
		if in.Valid&fuse.FATTR_SIZE != 0 {
			num("size=", in.Size)
		}
	case opCreate, opTmpfile:
		in := as[fuse.CreateIn](w)
		hex("mode=0x", uint64(in.Mode))
		hex("flags=0x", uint64(in.Flags))
	case opMkdir:
		hex("mode=0x", uint64(as[fuse.MkdirIn](w).Mode))
	case opMknod:
		in := as[fuse.MknodIn](w)
		hex("mode=0x", uint64(in.Mode))
		hex("rdev=0x", uint64(in.Rdev))
	case opLink:
		num("node=", as[fuse.LinkIn](w).Oldnodeid)
	case opRename:
		num("newdir=", *at[uint64](w.in[inHeaderSize:]))
	case opRename2:
		in := as[fuse.RenameIn](w)
		num("newdir=", in.Newdir)
		hex("flags=0x", uint64(in.Flags))
	case opForget:
		num("n=", as[fuse.ForgetIn](w).Nlookup)
	case opBatchForget:
		num("nodes=", uint64(as[batchForgetIn](w).count))
	case opGetxattr, opListxattr:
		num("size=", uint64(as[fuse.GetXAttrIn](w).Size))
	case opSetxattr:
		num("size=", uint64(*at[uint32](w.in[inHeaderSize:])))
	case opIoctl:
		hex("cmd=0x", uint64(as[fuse.IoctlIn](w).Cmd))
	case opFallocate:
		in := as[fuse.FallocateIn](w)
		hex("mode=0x", uint64(in.Mode))
		num("off=", in.Offset)
		num("len=", in.Length)
	case opLseek:
		in := as[fuse.LseekIn](w)
		num("off=", in.Offset)
		num("whence=", uint64(in.Whence))
	case opCopyFileRange:
		in := as[fuse.CopyFileRangeIn](w)
		num("off=", in.OffIn)
		num("to=", in.NodeIdOut)
		num("off=", in.OffOut)
		num("len=", in.Len)
	case opInit:
		b = w.appendInit(b)
	}
	return b
}

// appendInit adds what the kernel offered.
func (w *worker) appendInit(b []byte) []byte {
	p := w.in[inHeaderSize:]
	b = strconv.AppendUint(append(b, " protocol="...), uint64(*at[uint32](p)), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(*at[uint32](p[4:])), 10)
	b = strconv.AppendUint(append(b, " flags=0x"...), uint64(*at[uint32](p[12:])), 16)
	return b
}
