package fusefs

import (
	"bytes"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// nameMax is NAME_MAX: no file system below us has longer names.
const nameMax = 255

// worker serves one request at a time. Each reader has one, and each slow
// task. Its fields are what would otherwise be allocated per request.
type worker struct {
	s     *Server
	set   *settings
	place meter.Place
	own   *[]byte // a slow task's copy of the request, to be given back

	// seat is where the request in hand is noted for the next server; nil
	// when there will be none.
	seat *atomic.Uint64

	in  []byte // the request: header, struct, names, data; no extension
	out []byte // the reply: header, payload
	op  *op

	name, name2 string // aliases of in
	rest        []byte // what follows the struct and the names in in

	caller union.Caller
	entry  union.Entry
	attr   union.Attr
	change union.AttrChange
	known  bool // attr is the answer already
	dir    dirSink

	// counted is the node whose lookup count this reply hands to the
	// kernel: taken back if the reply doesn't arrive.
	counted node.ID
	// openID is the node that has one open file more if the reply arrives.
	openID node.ID
	opened union.Opened

	// Set while somebody looks at what the server does.
	start           int64 // when the request came; 0: nobody looks
	watched, traced bool
	note            traceNote
}

func (w *worker) header() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&w.in[0])) }

// node is the node that the request is about.
func (w *worker) node() node.ID { return node.ID(w.header().NodeId) }

// payload is where the reply goes, without its header.
func (w *worker) payload() []byte { return w.out[outHeaderSize:] }

// as casts the request to its struct. The size has been checked by decode.
func as[T any](w *worker) *T { return (*T)(unsafe.Pointer(&w.in[0])) }

// reply is the payload as a struct, zeroed, and its size.
func reply[T any](w *worker) (*T, int) {
	p := (*T)(unsafe.Pointer(&w.out[outHeaderSize]))
	var zero T
	*p = zero
	return p, int(unsafe.Sizeof(zero))
}

// who fills in the caller.
func (w *worker) who(umask uint32) *union.Caller {
	h := w.header()
	w.caller = union.Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid, Umask: umask}
	return &w.caller
}

// handle serves one request as it came from the device and returns the length
// of the reply in w.out; 0 = there is nothing to write (now).
func (w *worker) handle(req []byte) (n int) {
	if len(req) < inHeaderSize {
		w.s.log.Printf("fuse: a request of %d bytes, shorter than its header: ignored", len(req))
		return 0
	}
	defer w.recovered(&n)
	e := w.decode(req)
	w.place.Request(w.opcode())
	w.start = 0
	if w.s.trace != nil || w.s.meter.Looked() {
		w.look()
	}
	if e != 0 {
		return w.finish(0, e)
	}
	if w.op.slow != nil && w.op.slow(w) {
		w.s.slow.submit(w)
		return 0
	}
	return w.run()
}

// opcode is the index of the request's op in ops; 0 for what we don't know.
func (w *worker) opcode() uint32 {
	if c := w.header().Opcode; c < opCount {
		return c
	}
	return 0
}

// decode checks the request and takes it apart. w.in and w.op are valid even
// when it answers an error.
func (w *worker) decode(req []byte) syscall.Errno {
	w.in = req
	w.op = &ops[w.opcode()]
	w.set = w.s.set.Load()
	w.name, w.name2, w.rest = "", "", nil
	w.counted, w.openID, w.dir.used = node.None, node.None, 0
	w.note, w.known = traceNote{}, false
	h := w.header()
	if int64(h.Length) != int64(len(req)) {
		return syscall.EIO
	}
	ext := int(h.TotalExtlen) * 8
	if ext > len(req)-inHeaderSize {
		return syscall.EINVAL
	}
	w.in = req[:len(req)-ext]
	body := w.in[inHeaderSize:]
	if len(body) < w.op.fixed {
		return syscall.EINVAL
	}
	if w.set == nil && w.op != &ops[opInit] {
		return syscall.EIO // before INIT nothing else may come
	}
	if w.set != nil && w.set.passes {
		w.follow()
	}
	return w.decodeNames(body[w.op.fixed:])
}

// decodeNames takes the op's names off rest.
func (w *worker) decodeNames(rest []byte) syscall.Errno {
	if w.op.names > 0 {
		var ok bool
		if w.name, rest, ok = cutName(rest); !ok {
			return syscall.EINVAL
		}
	}
	if w.op.names > 1 {
		var ok bool
		if w.name2, rest, ok = cutName(rest); !ok {
			return syscall.EINVAL
		}
	}
	w.rest = rest
	if !w.op.component {
		return 0
	}
	if e := checkName(w.name); e != 0 {
		return e
	}
	// A symlink's second name is its target: any text, but not none.
	if w.op == &ops[opSymlink] {
		if w.name2 == "" {
			return syscall.ENOENT
		}
		return 0
	}
	if w.op.names > 1 {
		return checkName(w.name2)
	}
	return 0
}

// cutName splits a NUL-terminated name off b, without copying.
func cutName(b []byte) (name string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return unsafe.String(unsafe.SliceData(b), i), b[i+1:], true
}

// checkName refuses what can't be a directory entry. The kernel never sends
// such a name, so that nothing behind us has to think about one.
func checkName(s string) syscall.Errno {
	if len(s) > nameMax {
		return syscall.ENAMETOOLONG
	}
	if s == "" || s == "." || s == ".." {
		return syscall.EINVAL
	}
	for i := range len(s) {
		if s[i] == '/' {
			return syscall.EINVAL
		}
	}
	return 0
}

// run serves the decoded request.
func (w *worker) run() int {
	if w.start != 0 && (w.traced || w.s.trace != nil) {
		w.take()
	}
	if w.seat != nil {
		w.began()
	}
	if w.header().Unique&resent != 0 {
		if n, e, done := w.again(); done {
			return w.finish(n, e)
		}
	}
	n, e := w.op.run(w)
	return w.finish(n, e)
}

// finish writes the reply's header and returns the length of the reply.
func (w *worker) finish(n int, e syscall.Errno) int {
	if w.start != 0 {
		w.observed(n, e)
	}
	if w.op.silent {
		return 0
	}
	if e != 0 {
		n = 0
		// The kernel refuses a reply with an impossible error, and the
		// client would wait for ever.
		if e >= 512 {
			e = syscall.EIO
		}
	}
	h := (*fuse.OutHeader)(unsafe.Pointer(&w.out[0]))
	h.Length = uint32(outHeaderSize + n)
	h.Status = -int32(e)
	h.Unique = w.header().Unique
	return int(h.Length)
}

// recovered is deferred around everything that a handler does: a panic costs
// this request an EIO and nothing else.
func (w *worker) recovered(n *int) {
	if r := recover(); r != nil {
		w.s.log.Printf("fuse: panic in %s of node %d: %v\n%s", w.op.name, w.header().NodeId, r, debug.Stack())
		w.counted = node.None
		*n = w.finish(0, syscall.EIO)
	}
}

// send writes a reply of n bytes. A reply that doesn't arrive takes back the
// look-ups that it would have told of.
func (w *worker) send(n int) {
	e := w.s.dev.write(w.out[:n])
	if e == 0 {
		return
	}
	if w.openID != node.None {
		w.s.tree.Release(w.openID, w.opened.Handle)
	}
	if w.counted != node.None {
		w.s.tree.Forget(w.counted, 1)
	}
	if w.op == &ops[opReaddirplus] {
		w.dir.forgetAll(w.s.tree)
	}
	switch e {
	case syscall.ENOENT, syscall.ENODEV, syscall.ECONNABORTED:
		return // nobody waits any more: interrupted, or unmounted
	}
	w.s.log.Printf("fuse: the kernel refused the reply to %s of node %d: %v", w.op.name, w.header().NodeId, e)
	if k := w.finish(0, syscall.EIO); k > 0 {
		_ = w.s.dev.write(w.out[:k]) // if this doesn't arrive either, the request can't be helped
	}
}
