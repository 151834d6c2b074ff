package node

import (
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func blocks(t *testing.T, a *arena) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(a.fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// What the kernel forgets goes back to the system.
func TestMemoryGoesBack(t *testing.T) {
	tb, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer tb.Close()
	empty := blocks(t, tb.recs) + blocks(t, tb.names.a)
	for round := range 2 {
		const n = 100000
		ids := make([]ID, n)
		for i := range ids {
			ids[i] = insert(t, tb, 1, fmt.Sprintf("%060d", i), Init{})
		}
		full := blocks(t, tb.recs) + blocks(t, tb.names.a)
		if per := full / n; per > 200 {
			t.Errorf("%d bytes a node", per)
		}
		// Half of it, in one piece.
		for _, id := range ids[n/2:] {
			tb.Forget(id, 1)
		}
		if now := blocks(t, tb.recs); now > int64(n/2*recSize+2*chunkSize) {
			t.Errorf("%d bytes of records for %d nodes", now, n/2)
		}
		for _, id := range ids[:n/2] {
			tb.Forget(id, 1)
		}
		if now := blocks(t, tb.recs) + blocks(t, tb.names.a); now > empty+2*chunkSize {
			t.Errorf("round %d: %d bytes empty, %d full, %d after", round, empty, full, now)
		}
	}
	// Nobody may shorten the file under the mapping.
	if err := unix.Ftruncate(tb.recs.fd, 0); err == nil {
		t.Error("the file can be cut")
	}
}

// A table that is full says so and goes on to work.
func TestFull(t *testing.T) {
	tb := NewHeap(100)
	defer tb.Close()
	var ids []ID
	for i := 0; ; i++ {
		id, _, e := tb.Insert(1, fmt.Sprint(i), &Init{})
		if e == syscall.ENOMEM {
			break
		}
		if e != 0 || i > 100000 {
			t.Fatal(e)
		}
		ids = append(ids, id)
	}
	if len(ids) < 100 || tb.Count() != len(ids)+1 {
		t.Errorf("%d nodes, counted %d", len(ids), tb.Count())
	}
	tb.Forget(ids[3], 1)
	insert(t, tb, 1, "fits", Init{})
	// No room for a long name: the node keeps the old one.
	for i := 0; ; i++ {
		if e := tb.Move(ids[i].Index(), 1, fmt.Sprintf("%0250d", i), 0); e != 0 {
			if tb.Lookup(1, fmt.Sprint(i)) != ids[i] {
				t.Error("the old name is lost")
			}
			return
		}
		if i == len(ids)-1 {
			return
		}
		if i == 2 {
			i++ // forgotten
		}
	}
}
