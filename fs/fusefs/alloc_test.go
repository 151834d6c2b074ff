package fusefs

import (
	"encoding/binary"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// quietTree allocates nothing in the operations that are measured: what is
// measured is the loop.
type quietTree struct {
	*fakeTree
	entry union.Entry
	names []string
}

func (t *quietTree) Lookup(_ node.ID, name string, e *union.Entry) syscall.Errno {
	if name == "absent" {
		return syscall.ENOENT
	}
	*e = t.entry
	return 0
}

func (t *quietTree) ReadDir(_ node.ID, off uint64, plus bool, sink union.DirSink) syscall.Errno {
	for i := int(off); i < len(t.names); i++ {
		if plus {
			if !sink.Room(t.names[i]) {
				break
			}
			sink.AddPlus(t.names[i], &t.entry, 7, syscall.DT_REG, uint64(i+1))
		} else if !sink.Add(t.names[i], 7, syscall.DT_REG, uint64(i+1)) {
			break
		}
	}
	return 0
}

func (t *quietTree) Create(_ *union.Caller, _ node.ID, _ string, _, _ uint32, e *union.Entry) syscall.Errno {
	*e = t.entry
	return 0
}

func (t *quietTree) Unlink(node.ID, string) syscall.Errno { return 0 }

// hotRequests are the ones that must not allocate.
func hotRequests() map[string][]byte {
	return map[string][]byte{
		"LOOKUP":          message(opLookup, 1, "file"),
		"LOOKUP_negative": message(opLookup, 1, "absent"),
		"GETATTR":         message(opGetattr, 2, body(fuse.GetAttrIn{})),
		"SETATTR":         message(opSetattr, 2, body(fuse.SetAttrIn{})),
		"STATX":           message(opStatx, 2, body(fuse.StatxIn{})),
		"READ":            message(opRead, 2, readIn(4096, 0)),
		"WRITE":           message(opWrite, 2, body(fuse.WriteIn{Size: 4}), []byte("data")),
		"GETXATTR":        message(opGetxattr, 2, body(fuse.GetXAttrIn{Size: 64}), "user.key"),
		"GETXATTR_absent": message(opGetxattr, 2, body(fuse.GetXAttrIn{Size: 24}), "security.capability"),
		"FORGET":          message(opForget, 2, uint64(1)),
		"BATCH_FORGET":    message(opBatchForget, 2, uint32(2), uint32(0), [4]uint64{2, 1, 3, 1}),
		"READDIR":         message(opReaddir, 1, readIn(4096, 0)),
		"READDIRPLUS":     message(opReaddirplus, 1, readIn(4096, 0)),
		"CREATE":          message(opCreate, 1, body(fuse.CreateIn{}), "new"),
		"UNLINK":          message(opUnlink, 1, "new"),
		"IOCTL":           message(opIoctl, 2, body(fuse.IoctlIn{Cmd: 0x5401})),
		"OPEN":            message(opOpen, 2, body(fuse.OpenIn{})),
	}
}

func newQuiet(t testing.TB) *tb {
	b := newTB(t, nil)
	q := &quietTree{fakeTree: b.tree, names: []string{".", "..", "one", "two", "three", "four"}}
	q.entry.Node, q.entry.Attr = 2, b.tree.nodes[2].attr
	b.s.tree = q
	return b
}

// TestNoAllocation: the requests that come by the thousand leave no garbage.
func TestNoAllocation(t *testing.T) {
	b := newQuiet(t)
	for name, m := range hotRequests() {
		if got := testing.AllocsPerRun(100, func() { b.w.handle(m) }); got != 0 {
			t.Errorf("%s: %v allocations per request", name, got)
		}
		if n := b.w.handle(m); n > 0 {
			if e := at[fuse.OutHeader](b.w.out).Status; e != 0 && name != "GETXATTR_absent" && name != "IOCTL" && name != "OPEN" {
				t.Errorf("%s: status %d", name, e)
			}
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	q := newQuiet(b)
	for name, m := range hotRequests() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.w.handle(m)
			}
		})
	}
}

// FuzzRequest throws bytes at the decoder: whatever comes, the reply is one
// that the kernel accepts, and nothing panics.
func FuzzRequest(f *testing.F) {
	for _, m := range hotRequests() {
		f.Add(m)
	}
	for _, m := range [][]byte{
		initMessage(kernelFlags),
		message(opRename2, 1, uint64(1), uint64(0), "a", "b"),
		message(opSymlink, 1, "a", "b"),
		message(opSetxattr, 2, body(fuse.SetXAttrIn{Size: 1}), "user.a", []byte("b")),
		message(opListxattr, 2, body(fuse.GetXAttrIn{Size: 10})),
		message(opCopyFileRange, 2, body(fuse.CopyFileRangeIn{NodeIdOut: 5, Len: 10})),
		message(opFallocate, 2, body(fuse.FallocateIn{Length: 10})),
		message(opTmpfile, 1, body(fuse.CreateIn{}), "/"),
		message(opIoctl, 2, body(fuse.IoctlIn{Cmd: setFlags64, InSize: 4}), uint32(1)),
	} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		b := newTB(t, nil)
		b.s.trace = &tracer{w: io.Discard}
		m = aligned(m)
		if len(m) >= 4 {
			// Mostly with the length right, or all would end there.
			if binary.NativeEndian.Uint32(m)%8 != 7 {
				binary.NativeEndian.PutUint32(m, uint32(len(m)))
			}
		}
		if len(m) < inHeaderSize {
			if b.w.handle(m) != 0 {
				t.Fatal("reply to less than a header")
			}
			return
		}
		unique := at[fuse.InHeader](m).Unique
		n := b.w.handle(m)
		b.s.slow.wait()
		if strings.Contains(b.log.String(), "panic") {
			t.Fatal(b.log.String())
		}
		if n == 0 {
			return
		}
		h := at[fuse.OutHeader](b.w.out)
		if int(h.Length) != n || h.Unique != unique || h.Status > 0 || h.Status <= -512 || h.Status != 0 && n != outHeaderSize {
			t.Fatalf("reply of %d bytes: %+v", n, *h)
		}
	})
}
