package fusefs

import (
	"bytes"
	"errors"
	"io"
	"log"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// loop is a server at work on a fakeDevice.
type loop struct {
	*testing.T
	s     *Server
	dev   *fakeDevice
	tree  *fakeTree
	ended chan error
	log   *bytes.Buffer
}

func newLoop(t *testing.T, hook func(op string)) *loop {
	t.Helper()
	l := &loop{T: t, dev: newFakeDevice(), tree: newFakeTree(), ended: make(chan error, 1), log: new(bytes.Buffer)}
	l.tree.hook = hook
	l.s = newServer(l.dev, l.tree, Config{Log: log.New(l.log, "", 0), Trace: io.Discard})
	go func() { l.ended <- l.s.Serve() }()
	l.wait(l.dev.start(initMessage(kernelFlags)))
	if err := l.s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	return l
}

// wait is the error of a reply.
func (l *loop) wait(c <-chan []byte) syscall.Errno {
	l.Helper()
	select {
	case p := <-c:
		return syscall.Errno(-at[fuse.OutHeader](aligned(p)).Status)
	case <-time.After(10 * time.Second):
		l.Fatal("no reply")
	}
	return 0
}

func (l *loop) stop() {
	l.Helper()
	close(l.dev.requests)
	if err := <-l.ended; err != nil {
		l.Errorf("Serve: %v", err)
	}
	if !l.dev.closed {
		l.Error("the descriptor was not closed")
	}
}

// TestSlowStopsNobody: more slow requests than there are readers and slots, and
// look-ups go on; at most maxSlow run at once, and all get their reply.
func TestSlowStopsNobody(t *testing.T) {
	before := runtime.NumGoroutine()
	release := make(chan struct{})
	var running, most atomic.Int64
	var quick atomic.Bool
	l := newLoop(t, func(op string) {
		if quick.Load() {
			return
		}
		switch op {
		case "fsync", "write", "setattr", "rename", "link":
			now := running.Add(1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			<-release
			running.Add(-1)
		}
	})
	for _, n := range l.tree.nodes {
		n.upper = n.path != "/lower"
	}
	var lower uint64
	for id, n := range l.tree.nodes {
		if !n.upper {
			lower = uint64(id)
		}
	}
	big := make([]byte, 200<<10)
	chmod := fuse.SetAttrIn{}
	chmod.Valid = fuse.FATTR_MODE
	kinds := [][]byte{}
	for range 30 {
		kinds = append(kinds,
			message(opFsync, 2, body(fuse.FsyncIn{})),
			message(opWrite, lower, body(fuse.WriteIn{Size: uint32(len(big))}), big),
			message(opSetattr, lower, body(chmod)),
			message(opRename, 1, uint64(1), "absent", "b"),
			message(opLink, 1, lower, "second"))
	}
	var slow []<-chan []byte
	for _, m := range kinds {
		slow = append(slow, l.dev.start(m))
		if e := l.wait(l.dev.start(message(opLookup, 1, "file"))); e != 0 {
			t.Fatalf("look-up beside slow requests: %v", e)
		}
	}
	// A SETATTR that changes nothing must not wait for a slot either.
	for range 1000 { // all slots taken: on one CPU that comes later
		if running.Load() == maxSlow {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	quick.Store(true)
	if e := l.wait(l.dev.start(message(opSetattr, lower, body(fuse.SetAttrIn{})))); e != 0 {
		t.Errorf("empty SETATTR: %v", e)
	}
	close(release)
	for i, c := range slow {
		if e := l.wait(c); e != 0 && at[fuse.InHeader](kinds[i]).Opcode != opRename {
			t.Errorf("slow request %d: %v", i, e)
		}
	}
	if m := most.Load(); m != maxSlow {
		t.Errorf("%d slow requests ran at once, want %d", m, maxSlow)
	}
	l.stop()
	c := l.s.Counts()
	if c["FSYNC"] != 30 || c["WRITE"] != 30 || c["LOOKUP"] != 150 || c["INIT"] != 1 || c["READ"] != 0 {
		t.Errorf("counts %v", c)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestPanic: a handler that panics costs its request an EIO, in the reader and
// in a slow task, and the server goes on.
func TestPanic(t *testing.T) {
	l := newLoop(t, func(op string) {
		if op == "getattr" || op == "fsync" || op == "rename" {
			panic("broken " + op)
		}
	})
	for _, m := range [][]byte{
		message(opGetattr, 2, body(fuse.GetAttrIn{})),
		message(opFsync, 2, body(fuse.FsyncIn{})),
		message(opRename, 1, uint64(1), "a", "b"),
	} {
		if e := l.wait(l.dev.start(m)); e != syscall.EIO {
			t.Errorf("%s: %v, want EIO", ops[at[fuse.InHeader](m).Opcode].name, e)
		}
	}
	if e := l.wait(l.dev.start(message(opLookup, 1, "file"))); e != 0 {
		t.Errorf("after panics: %v", e)
	}
	l.stop()
	for _, want := range []string{"broken getattr", "broken fsync", "broken rename", "fakeTree"} {
		if !strings.Contains(l.log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
}

// TestReadErrors: an interrupted read is retried, a strange one ends Serve.
func TestReadErrors(t *testing.T) {
	l := newLoop(t, nil)
	l.dev.requests <- nil // EINTR
	if e := l.wait(l.dev.start(message(opLookup, 1, "file"))); e != 0 {
		t.Errorf("after EINTR: %v", e)
	}
	l.stop()
	s := NewServer(-1, l.tree, Config{Log: log.New(io.Discard, "", 0)})
	if err := s.Serve(); err == nil || !strings.Contains(err.Error(), "/dev/fuse") {
		t.Errorf("Serve of no descriptor: %v", err)
	}
	if err := s.WaitReady(); err == nil {
		t.Error("WaitReady of no descriptor succeeded")
	}
}

// TestCutOff: a request that was being fetched when the mount went is no fault; a
// connection that was aborted is.
func TestCutOff(t *testing.T) {
	l := newLoop(t, nil)
	l.dev.cuts.Store(1)
	l.stop()

	l = newLoop(t, nil)
	l.dev.cuts.Store(2)
	close(l.dev.requests)
	if err := <-l.ended; !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("Serve of an aborted connection: %v", err)
	}
}
