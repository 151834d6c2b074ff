package node

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// reopen maps the table anew, as another process would.
func reopen(t testing.TB, tab *Table) (*Table, error) {
	t.Helper()
	a, b := tab.FDs()
	fd1, err := unix.Dup(a)
	if err != nil {
		t.Fatal(err)
	}
	fd2, err := unix.Dup(b)
	if err != nil {
		t.Fatal(err)
	}
	return Open(fd1, fd2)
}

// TestReopen: another process finds every node by its name, key and id.
func TestReopen(t *testing.T) {
	tab, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	names := map[ID]string{}
	parents := []uint32{Root.Index()}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		name := fmt.Sprintf("n%d%s", i, strings.Repeat("x", rng.IntN(200)))
		in := Init{Ino: uint64(i), Key: uint64(i), Type: unix.DT_REG}
		if i%50 == 0 {
			in.Type, in.Flags = unix.DT_DIR, Dir
		}
		id, _, e := tab.Insert(parents[rng.IntN(len(parents))], name, &in)
		if e != 0 {
			t.Fatal(e)
		}
		if in.Flags == Dir {
			parents = append(parents, id.Index())
		} else if i%3 == 0 {
			tab.Forget(id, 1)
			continue
		}
		names[id] = name
	}
	tab.Hold(ID(parents[1])) // a pin dies with its owner
	var dead ID
	for id := range names {
		if !tab.Rec(id.Index()).Has(Dir) {
			dead = id
			break
		}
	}
	tab.Unhash(dead.Index())
	tab.Rec(dead.Index()).Set(Dead)

	again, err := reopen(t, tab)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if a, b := tab.Count(), again.Count(); a != b {
		t.Errorf("%d nodes, %d after", a, b)
	}
	for id, name := range names {
		r := again.Get(id)
		if r == nil || again.Name(r) != name {
			t.Fatalf("node %x is lost", id)
		}
		got := again.Pin(r.Parent(), name)
		if want := id; id == dead && got != None || id != dead && got != want {
			t.Fatalf("%s leads to %x, not %x", name, got, want)
		}
		if got != None {
			again.Unpin(got)
		}
	}
	freed := 0
	again.OnFree = func(ID, *Rec) { freed++ }
	for id := range names {
		again.Forget(id, 1)
	}
	again.Sweep()
	if again.Count() != 1 || freed != len(names) {
		t.Errorf("%d nodes are left, %d of %d were freed", again.Count(), freed, len(names))
	}
	if again.names.used != 0 {
		t.Errorf("%d names are left", again.names.used)
	}
}

// TestReopenMove: a move that was begun is finished.
func TestReopenMove(t *testing.T) {
	tab, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	dir, _, _ := tab.Insert(Root.Index(), "dir", &Init{Type: unix.DT_DIR, Flags: Dir})
	id, _, _ := tab.Insert(Root.Index(), "old", &Init{Type: unix.DT_REG})
	gone, _, _ := tab.Insert(dir.Index(), "new", &Init{Type: unix.DT_REG})
	tab.beginRedo(id.Index(), dir.Index(), "new", gone.Index(), Dead)
	again, err := reopen(t, tab)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Pin(dir.Index(), "new"); got != id {
		t.Errorf("new leads to %x", got)
	}
	if again.Pin(Root.Index(), "old") != None || !again.Get(gone).Has(Dead) {
		t.Error("the old name is there")
	}
}

// FuzzOpen: a damaged table is refused, or is a tree.
func FuzzOpen(f *testing.F) {
	f.Add(uint32(0), byte(1), uint32(1100), byte(7))
	f.Add(uint32(1024), byte(0xff), uint32(1200), byte(0xff))
	f.Add(uint32(1015), byte(0xd5), uint32(1115), byte(0xff)) // a place for no name
	f.Fuzz(func(t *testing.T, at1 uint32, v1 byte, at2 uint32, v2 byte) {
		tab, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer tab.Close()
		dir, _, _ := tab.Insert(Root.Index(), "dir", &Init{Type: unix.DT_DIR, Flags: Dir})
		for i := range 20 {
			tab.Insert(dir.Index(), fmt.Sprint(strings.Repeat("long", i), i), &Init{Type: unix.DT_REG})
		}
		end := uint32((headerRecs + 22) * recSize)
		tab.recs.mem[at1%end] ^= v1
		tab.recs.mem[at2%end] ^= v2
		again, err := reopen(t, tab)
		if err != nil {
			return
		}
		defer again.Close()
		for id := range again.Live() {
			r := again.Rec(id.Index())
			_ = again.Name(r) + again.LowerName(r)
			again.Forget(id, r.Lookups())
		}
		again.Sweep()
	})
}
