package fusefs

import (
	"sync/atomic"
	"testing"
	"time"
)

// reading is how many readers there are, at rest or not, and how many read.
func (c *crew) reading() (all, active int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.readers), c.active
}

// TestCrew: one reader serves whoever comes alone; readers that wait for a disk
// stop nobody, up to the limit; when they are through, one reads again.
func TestCrew(t *testing.T) {
	release := make(chan struct{})
	var blocked atomic.Int64
	l := newLoop(t, func(op string) {
		if op == "getattr" {
			blocked.Add(1)
			<-release
		}
	})
	lookup := func() {
		t.Helper()
		if e := l.wait(l.dev.start(message(opLookup, 1, "file"))); e != 0 {
			t.Fatalf("look-up: %v", e)
		}
	}
	lookup()
	if all, _ := l.s.crew.reading(); all != 1 {
		t.Errorf("%d readers for one client, want 1", all)
	}
	var slow []<-chan []byte
	for range maxReaders - 1 {
		slow = append(slow, l.dev.start(message(opGetattr, 2, make([]byte, ops[opGetattr].fixed))))
		lookup()
	}
	if n := blocked.Load(); n != maxReaders-1 {
		t.Errorf("%d requests wait, want %d", n, maxReaders-1)
	}
	if _, active := l.s.crew.reading(); active != maxReaders {
		t.Errorf("%d readers, want %d", active, maxReaders)
	}
	close(release)
	for _, c := range slow {
		l.wait(c)
	}
	deadline := time.Now().Add(30 * time.Second)
	for active := maxReaders; active > 1; _, active = l.s.crew.reading() {
		lookup()
		if time.Now().After(deadline) {
			t.Fatalf("%d readers still read", active)
		}
	}
	l.stop() // those at rest end as well, or this would hang
}
