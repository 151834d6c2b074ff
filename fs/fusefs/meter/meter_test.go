package meter

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newMeter(t *testing.T) *Meter {
	t.Helper()
	m, err := New("0:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// other is the same memory as another process has it.
func other(t *testing.T, m *Meter) *Meter {
	t.Helper()
	o, err := Open(fmt.Sprintf("/proc/self/fd/%d", m.FD()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// TestCounts: what one process counts another sees, from all places.
func TestCounts(t *testing.T) {
	m := newMeter(t)
	look := other(t, m)
	before := look.Snapshot()
	for i := range Places + 3 { // more readers than places share the last one
		p := m.Place(i)
		p.Request(3)
		p.Read(10)
		p.Written(1)
		p.Answer(i%2 == 0)
	}
	m.Tree.CopyUps.Add(2)
	m.Tree.CopiedUp.Add(7)
	d := look.Snapshot().Since(before)
	if d.N[3] != 20 || d.Total() != 20 || d.Read != 200 || d.Written != 20 || d.Known != 10 || d.Asked != 10 || d.CopyUps != 2 || d.CopiedUp != 7 {
		t.Errorf("%+v", d)
	}
	if look.PID.Load() != int64(os.Getpid()) {
		t.Error("whose meter it is")
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", m.FD()))
	if err != nil || !strings.HasPrefix(name, "/memfd:"+Prefix+"0:1") {
		t.Errorf("%q, %v", name, err)
	}
}

// TestPrivate: a meter that nobody else sees counts as well.
func TestPrivate(t *testing.T) {
	m := Private()
	p := m.Place(0)
	p.Request(1)
	p.Took(1, time.Second)
	m.Write(&Event{Path: "/"})
	if s := m.Snapshot(); s.N[1] != 1 || m.FD() != -1 || m.Looked() || m.Close() != nil {
		t.Errorf("%+v", s)
	}
}

// TestServers: the next server goes on counting where the last one was.
func TestServers(t *testing.T) {
	m := newMeter(t)
	p := m.Place(0)
	p.Request(1)
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Serve(os.NewFile(uintptr(fd), "meter"))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	q := next.Place(0)
	q.Request(1)
	if n := m.Snapshot().N[1]; n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestOther: what is no meter, or one of another version, is refused.
func TestOther(t *testing.T) {
	m := newMeter(t)
	m.version++
	if o, err := Open(fmt.Sprintf("/proc/self/fd/%d", m.FD())); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Error(o, err)
	}
	empty, err := File("x")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if o, err := Open(fmt.Sprintf("/proc/self/fd/%d", empty.Fd())); err == nil {
		t.Error(o)
	}
	if err := unix.Ftruncate(m.FD(), 0); err == nil {
		t.Error("a meter can be made smaller: its server would die of it")
	}
}

// TestLeases: a look ends by itself, and a longer one isn't cut short by another.
func TestLeases(t *testing.T) {
	m := newMeter(t)
	if m.Looked() {
		t.Error("looked at from the start")
	}
	now := Now()
	if err := m.Watch(time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(0); err != nil {
		t.Fatal(err)
	}
	if !m.Looked() || !m.Watched(now+int64(59*time.Minute)) || m.Traced(now) {
		t.Error("the lease doesn't hold")
	}
	if m.Watched(now+int64(2*time.Hour)) || m.Looked() {
		t.Error("the lease doesn't end")
	}
	if err := m.Trace(); err != nil || !m.Looked() || !m.Traced(now) || m.Traced(now+int64(time.Hour)) || m.Looked() {
		t.Error("a trace", err)
	}
}

func TestQuantile(t *testing.T) {
	m := newMeter(t)
	p := m.Place(0)
	for range 98 {
		p.Took(1, 3*time.Microsecond)
	}
	p.Took(2, 100*time.Millisecond)
	p.Took(2, 100*time.Millisecond)
	s := m.Snapshot()
	if q := s.Quantile(0.5); q < 2048*time.Nanosecond || q > 4096*time.Nanosecond {
		t.Errorf("p50 %v", q)
	}
	if q := s.Quantile(0.99); q < 67*time.Millisecond || q > 135*time.Millisecond {
		t.Errorf("p99 %v", q)
	}
	if q := (&Snapshot{}).Quantile(0.99); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	if s.Sum[1] != 98*3000 {
		t.Errorf("sum %d", s.Sum[1])
	}
	for d, b := range map[time.Duration]int{-1: 0, 0: 0, 255: 0, 256: 1, 511: 1, 512: 2, time.Hour: Buckets - 1} {
		if got := bucket(d); got != b {
			t.Errorf("bucket of %d is %d, want %d", d, got, b)
		}
	}
}

// TestRing: events arrive whole and in order; what was overwritten is counted.
func TestRing(t *testing.T) {
	m := newMeter(t)
	m.Write(&Event{Path: "/before"})
	tail := other(t, m).Tail()
	if e, ok := tail.Next(); ok {
		t.Error(e)
	}
	at := time.Unix(0, 12345)
	e := Event{At: at, Took: 5, Op: 1, PID: 2, UID: 3, Errno: 4, Bytes: 6, Absent: true, Command: "a-command-with-a-name", Path: "/a", To: "/b"}
	m.Write(&e)
	e.Command = "a-command-with-"
	if got, ok := tail.Next(); !ok || got != e {
		t.Errorf("%+v", got)
	}
	long := strings.Repeat("/directory", 100)
	m.Write(&Event{Path: long, To: long})
	got, ok := tail.Next()
	if !ok || !strings.HasPrefix(got.Path, "…") || !strings.HasSuffix(long, strings.TrimPrefix(got.Path, "…")) || len(got.Path) != textSize/2 || len(got.To) != textSize/2 {
		t.Errorf("%q (%d) %q (%d)", got.Path, len(got.Path), got.To, len(got.To))
	}
	const n = 3 * Slots
	for i := range n {
		m.Write(&Event{Op: uint32(i)})
	}
	read, last := uint64(0), -1
	for e, ok := tail.Next(); ok; e, ok = tail.Next() {
		if int(e.Op) <= last {
			t.Fatalf("%d after %d", e.Op, last)
		}
		last = int(e.Op)
		read++
	}
	if read+tail.Lost != n || last != n-1 || read < Slots/2 {
		t.Errorf("%d read, %d lost, the last one %d", read, tail.Lost, last)
	}
}

// TestRingOfTheDead: an event that a server died on stops nobody for long.
func TestRingOfTheDead(t *testing.T) {
	m := newMeter(t)
	tail := m.Tail()
	m.ring[m.next.Add(1)%Slots].number.Store(0)
	m.Write(&Event{Op: 1})
	if _, ok := tail.Next(); ok {
		t.Error("one that isn't whole was read")
	}
	for range patience {
		m.Write(&Event{Op: 1})
	}
	if _, ok := tail.Next(); !ok || tail.Lost != 1 {
		t.Errorf("%v, %d lost", ok, tail.Lost)
	}
}

// TestWriteTogether: events that several goroutines write arrive all.
func TestWriteTogether(t *testing.T) {
	m := newMeter(t)
	tail := m.Tail()
	const writers, each = 8, Slots / 16
	done := make(chan struct{})
	for range writers {
		go func() {
			for range each {
				m.Write(&Event{Path: "/path", Command: "cmd"})
			}
			done <- struct{}{}
		}()
	}
	for range writers {
		<-done
	}
	n := 0
	for e, ok := tail.Next(); ok; e, ok = tail.Next() {
		if e.Path != "/path" || e.Command != "cmd" {
			t.Errorf("%+v", e)
		}
		n++
	}
	if n != writers*each {
		t.Errorf("%d events", n)
	}
}

// TestNothingAllocated: counting leaves no garbage.
func TestNothingAllocated(t *testing.T) {
	m := newMeter(t)
	if err := m.Watch(time.Hour); err != nil {
		t.Fatal(err)
	}
	p := m.Place(1)
	if n := testing.AllocsPerRun(100, func() {
		p.Request(2)
		if m.Looked() && m.Watched(Now()) {
			p.Took(2, 100)
		}
		p.Answer(true)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCounting is what a READ pays while nobody looks, beside the one
// addition that it used to pay.
func BenchmarkCounting(b *testing.B) {
	m, err := New("0:1")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	p := m.Place(0)
	b.Run("place", func(b *testing.B) {
		for b.Loop() {
			p.Request(15)
			if m.Looked() {
				b.Fatal("looked at")
			}
			p.Read(4096)
		}
	})
	b.Run("one addition", func(b *testing.B) {
		for b.Loop() {
			m.counts[0].N[15].Add(1)
		}
	})
	b.Run("watched", func(b *testing.B) {
		if err := m.Watch(time.Hour); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			p.Request(15)
			now := Now()
			if m.Watched(now) {
				p.Took(15, time.Duration(Now()-now))
			}
			p.Read(4096)
		}
	})
}
