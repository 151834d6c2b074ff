package counts

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// Requests as the kernel sends them (include/uapi/linux/fuse.h).
const (
	opLookup   = 1
	opForget   = 2
	opGetattr  = 3
	opRead     = 15
	opWrite    = 16
	opGetxattr = 22
	opInit     = 26

	inHeader  = 40
	outHeader = 16
)

// wire is a server that reads its requests from a socket: no kernel between, so
// that all that is allocated is the server's.
type wire struct {
	testing.TB
	fd    int
	fs    *union.FS
	reply []byte
	meter *meter.Meter
}

func newWire(t testing.TB) *wire {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"lower/d", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"lower/d/low", "lower/d/up"} {
		if err := os.WriteFile(filepath.Join(dir, f), make([]byte, 10000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := &layer.Options{Lower: []string{dir + "/lower"}, Upper: dir + "/upper", Work: dir + "/work"}
	stack, err := layer.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := union.New(stack, o)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		for _, opt := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1<<20)
		}
	}
	m, err := meter.New("wire")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{TB: t, fd: pair[0], fs: fs, reply: make([]byte, 1<<17), meter: m}
	// A socket has no end as a mount has it: the server stays until the
	// process ends.
	s := fusefs.NewServer(pair[1], fs, fusefs.Config{Options: o, Readers: 2, Meter: m})
	go func() { _ = s.Serve() }()
	init := request(opInit, 0, make([]byte, 64))
	binary.NativeEndian.PutUint32(init[inHeader:], 7)
	binary.NativeEndian.PutUint32(init[inHeader+4:], 45)
	binary.NativeEndian.PutUint32(init[inHeader+8:], 128<<10)
	binary.NativeEndian.PutUint32(init[inHeader+12:], 0x73fffffb|1<<30)
	binary.NativeEndian.PutUint32(init[inHeader+16:], 0x7fd)
	w.must(init)
	if err := s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	return w
}

func request(op uint32, node uint64, body []byte) []byte {
	p := make([]byte, inHeader, inHeader+len(body))
	binary.NativeEndian.PutUint32(p, uint32(inHeader+len(body)))
	binary.NativeEndian.PutUint32(p[4:], op)
	binary.NativeEndian.PutUint64(p[8:], 2)
	binary.NativeEndian.PutUint64(p[16:], node)
	return append(p, body...)
}

// send sends a request and takes the reply.
func (w *wire) send(p []byte) (n int, errno int32) {
	if _, err := unix.Write(w.fd, p); err != nil {
		w.Fatal(err)
	}
	if binary.NativeEndian.Uint32(p[4:]) == opForget {
		return 0, 0
	}
	n, err := unix.Read(w.fd, w.reply)
	if err != nil || n < outHeader {
		w.Fatal(n, err)
	}
	return n, -int32(binary.NativeEndian.Uint32(w.reply[4:]))
}

func (w *wire) must(p []byte) []byte {
	w.Helper()
	n, errno := w.send(p)
	if errno != 0 {
		w.Fatalf("op %d: %v", binary.NativeEndian.Uint32(p[4:]), unix.Errno(errno))
	}
	return w.reply[outHeader:n]
}

func (w *wire) lookup(dir uint64, name string) uint64 {
	w.Helper()
	return binary.NativeEndian.Uint64(w.must(request(opLookup, dir, append([]byte(name), 0))))
}

func readIn(size uint32, off uint64) []byte {
	b := make([]byte, 40)
	binary.NativeEndian.PutUint64(b[8:], off)
	binary.NativeEndian.PutUint32(b[16:], size)
	return b
}

// hot are the requests that must leave no garbage, on the real tree.
func (w *wire) hot() map[string][]byte {
	d := w.lookup(1, "d")
	low, up := w.lookup(d, "low"), w.lookup(d, "up")
	write := readIn(4, 0)
	write = append(write, "data"...)
	w.must(request(opWrite, up, write))
	xattr := func(name string) []byte {
		b := make([]byte, 8, 64)
		binary.NativeEndian.PutUint32(b, 24)
		return append(append(b, name...), 0)
	}
	return map[string][]byte{
		"LOOKUP":          request(opLookup, d, []byte("low\x00")),
		"LOOKUP upper":    request(opLookup, d, []byte("up\x00")),
		"LOOKUP absent":   request(opLookup, d, []byte("absent\x00")),
		"LOOKUP dir":      request(opLookup, 1, []byte("d\x00")),
		"GETATTR":         request(opGetattr, low, make([]byte, 16)),
		"GETATTR upper":   request(opGetattr, up, make([]byte, 16)),
		"GETATTR dir":     request(opGetattr, d, make([]byte, 16)),
		"READ":            request(opRead, low, readIn(4096, 0)),
		"READ upper":      request(opRead, up, readIn(4096, 0)),
		"WRITE":           request(opWrite, up, write),
		"GETXATTR absent": request(opGetxattr, low, xattr("security.capability")),
	}
}

// TestNoAllocation: the requests that come by the thousand leave no garbage, from
// the descriptor to the layers and back.
func TestNoAllocation(t *testing.T) { noAllocation(t, newWire(t)) }

// TestNoAllocationWatched: nor do they while somebody looks at the figures.
func TestNoAllocationWatched(t *testing.T) {
	w := newWire(t)
	if err := w.meter.Watch(time.Hour); err != nil {
		t.Fatal(err)
	}
	noAllocation(t, w)
	if s := w.meter.Snapshot(); s.Quantile(0.99) == 0 || s.Known == 0 || s.Asked == 0 || s.Read == 0 || s.Written == 0 {
		t.Errorf("not counted: %+v", s)
	}
}

func noAllocation(t *testing.T, w *wire) {
	t.Helper()
	for name, p := range w.hot() {
		_, want := w.send(p)
		if want != 0 && want != int32(unix.ENODATA) && name != "LOOKUP absent" {
			t.Errorf("%s: %v", name, unix.Errno(want))
		}
		if n := testing.AllocsPerRun(500, func() {
			if _, errno := w.send(p); errno != want {
				t.Errorf("%s: %v", name, unix.Errno(errno))
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	// A name that comes and goes: a node is made and forgotten each time.
	d := w.lookup(1, "d")
	id := w.lookup(d, "low")
	var forget [8]byte
	binary.NativeEndian.PutUint64(forget[:], 1<<30)
	lookup, drop := request(opLookup, d, []byte("low\x00")), request(opForget, id, forget[:])
	w.send(drop)
	if n := testing.AllocsPerRun(500, func() {
		copy(drop[16:24], w.must(lookup)[:8])
		w.send(drop)
	}); n > 0 {
		t.Errorf("LOOKUP of a new node and FORGET: %v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	w := newWire(b)
	for name, p := range w.hot() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.send(p)
			}
		})
	}
}

// BenchmarkRequestWatched is that while somebody looks.
func BenchmarkRequestWatched(b *testing.B) {
	w := newWire(b)
	if err := w.meter.Watch(time.Hour); err != nil {
		b.Fatal(err)
	}
	for name, p := range w.hot() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.send(p)
			}
		})
	}
}
