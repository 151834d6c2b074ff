package fusefs

import (
	"bytes"
	"encoding/binary"
	"log"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/layer"
)

// fakeDevice is a kernel: requests are sent to it, replies wait in a map.
type fakeDevice struct {
	requests chan []byte // closed = unmounted
	unread   atomic.Int32

	mu      sync.Mutex
	replies map[uint64]chan []byte
	refuse  syscall.Errno // answered to writes; protected by mu
	closed  bool
	cuts    atomic.Int32 // reads that fail with ECONNABORTED when it is unmounted
}

func newFakeDevice() *fakeDevice {
	return &fakeDevice{requests: make(chan []byte), replies: map[uint64]chan []byte{}}
}

func (d *fakeDevice) read(p []byte) (int, syscall.Errno) {
	r, ok := <-d.requests
	if !ok {
		if d.cuts.Add(-1) >= 0 {
			return 0, syscall.ECONNABORTED
		}
		return 0, syscall.ENODEV
	}
	if r == nil {
		return 0, syscall.EINTR
	}
	return copy(p, r), 0
}

func (d *fakeDevice) write(p []byte) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != 0 {
		return d.refuse
	}
	h := at[fuse.OutHeader](p)
	if int(h.Length) != len(p) || h.Status > 0 || h.Status <= -512 {
		return syscall.EINVAL
	}
	c := d.replies[h.Unique]
	if c == nil {
		return syscall.ENOENT
	}
	delete(d.replies, h.Unique)
	c <- append([]byte(nil), p...)
	return 0
}

func (d *fakeDevice) close() error { d.closed = true; return nil }

// start sends a request; the reply comes out of the channel.
func (d *fakeDevice) start(r []byte) <-chan []byte {
	c := make(chan []byte, 1)
	d.mu.Lock()
	d.replies[at[fuse.InHeader](r).Unique] = c
	d.mu.Unlock()
	d.unread.Add(1)
	d.requests <- r
	d.unread.Add(-1)
	return c
}

func (d *fakeDevice) waiting() bool { return d.unread.Load() > 0 }

var uniques uint64

// message builds a request: the header, then each part: a struct or number by
// its bytes, a string with its NUL.
func message(op uint32, id uint64, parts ...any) []byte {
	var b bytes.Buffer
	uniques += 2
	h := fuse.InHeader{Opcode: op, Unique: uniques, NodeId: id}
	h.Uid, h.Gid, h.Pid = 1000, 1001, 1002
	put := func(v any) {
		if err := binary.Write(&b, binary.NativeEndian, v); err != nil {
			panic(err)
		}
	}
	put(h)
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b.WriteString(p)
			b.WriteByte(0)
		case []byte:
			b.Write(p)
		default:
			put(p)
		}
	}
	m := b.Bytes()
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return aligned(m)
}

// aligned copies m to where structs may lie.
func aligned(m []byte) []byte {
	words := make([]uint64, (len(m)+15)/8)
	p := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))[:len(m)]
	copy(p, m)
	return p
}

// kernelFlags are what Linux 6.18 offers.
const kernelFlags = 0x7fd73fffffb

func initMessage(flags uint64) []byte {
	return message(opInit, 0, uint32(7), uint32(45), uint32(128<<10), uint32(flags), uint32(flags>>32), [11]uint32{})
}

// tb is a server with one worker that requests are put into by hand.
type tb struct {
	testing.TB
	s    *Server
	w    *worker
	dev  *fakeDevice
	tree *fakeTree
	log  *bytes.Buffer
}

func newTB(t testing.TB, o *layer.Options) *tb {
	t.Helper()
	b := &tb{TB: t, dev: newFakeDevice(), tree: newFakeTree(), log: new(bytes.Buffer)}
	b.s = newServer(b.dev, b.tree, Config{Options: o, Log: log.New(b.log, "", 0)})
	buf, err := newBuffers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(buf.free)
	b.w = b.s.newWorker(buf)
	if n := b.w.handle(initMessage(kernelFlags)); n == 0 || b.s.Session() == nil {
		t.Fatalf("INIT failed: %s", b.log)
	}
	return b
}

// do serves one request at once, slow or not, and returns payload and error.
func (b *tb) do(op uint32, id uint64, parts ...any) ([]byte, syscall.Errno) {
	b.Helper()
	m := message(op, id, parts...)
	if e := b.w.decode(m); e != 0 {
		b.w.finish(0, e)
	} else if b.w.run() == 0 {
		return nil, 0
	}
	h := at[fuse.OutHeader](b.w.out)
	if h.Unique != at[fuse.InHeader](m).Unique {
		b.Fatalf("%s: reply to %d, want %d", b.w.op.name, h.Unique, at[fuse.InHeader](m).Unique)
	}
	p := append([]byte(nil), b.w.out[outHeaderSize:h.Length]...)
	return aligned(append(p, make([]byte, 8)...))[:len(p)], syscall.Errno(-h.Status)
}

// must is do for requests that succeed.
func (b *tb) must(op uint32, id uint64, parts ...any) []byte {
	b.Helper()
	p, e := b.do(op, id, parts...)
	if e != 0 {
		b.Fatalf("%s: %v", ops[op].name, e)
	}
	return p
}

// id looks a name of the root up.
func (b *tb) id(name string) uint64 {
	b.Helper()
	return at[fuse.EntryOut](b.must(opLookup, 1, name)).NodeId
}
