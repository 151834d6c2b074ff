package node

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// both runs a test on a table in memfds and on one on the Go heap.
func both(t *testing.T, n int, fn func(t *testing.T, tb *Table)) {
	t.Helper()
	t.Run("memfd", func(t *testing.T) {
		tb, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer tb.Close()
		fn(t, tb)
	})
	t.Run("heap", func(t *testing.T) {
		tb := NewHeap(n)
		defer tb.Close()
		fn(t, tb)
	})
}

func insert(t testing.TB, tb *Table, parent uint32, name string, in Init) ID {
	t.Helper()
	id, _, e := tb.Insert(parent, name, &in)
	if e != 0 {
		t.Fatalf("insert %q: %v", name, e)
	}
	return id
}

// TestLayout: the records are read by other processes, of other versions too. A
// change here is a change of formatVersion.
func TestLayout(t *testing.T) {
	if recSize != 128 {
		t.Errorf("a record has %d bytes", recSize)
	}
	var r Rec
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"word", unsafe.Offsetof(r.word), 0},
		{"lookups", unsafe.Offsetof(r.lookups), 8},
		{"Ino", unsafe.Offsetof(r.Ino), 16},
		{"Key", unsafe.Offsetof(r.Key), 24},
		{"OKey", unsafe.Offsetof(r.OKey), 32},
		{"Mtime", unsafe.Offsetof(r.Mtime), 40},
		{"refs", unsafe.Offsetof(r.refs), 48},
		{"parent", unsafe.Offsetof(r.parent), 52},
		{"OParent", unsafe.Offsetof(r.OParent), 56},
		{"chain", unsafe.Offsetof(r.chain), 60},
		{"hash", unsafe.Offsetof(r.hash), 64},
		{"Flags", unsafe.Offsetof(r.flags), 68},
		{"Layer", unsafe.Offsetof(r.Layer), 72},
		{"Data", unsafe.Offsetof(r.Data), 74},
		{"OLayer", unsafe.Offsetof(r.OLayer), 76},
		{"nameLen", unsafe.Offsetof(r.nameLen), 78},
		{"oLen", unsafe.Offsetof(r.oLen), 79},
		{"Delta", unsafe.Offsetof(r.Delta), 80},
		{"nameOff", unsafe.Offsetof(r.nameOff), 84},
		{"oOff", unsafe.Offsetof(r.oOff), 88},
		{"MtimeNs", unsafe.Offsetof(r.MtimeNs), 92},
		{"inline", unsafe.Offsetof(r.inline), 96},
		{"Type", unsafe.Offsetof(r.Type), 124},
		{"hashed", unsafe.Offsetof(r.hashed), 125},
	} {
		if f.got != f.want {
			t.Errorf("%s is at %d, was at %d", f.name, f.got, f.want)
		}
	}
	for flag, want := range map[int]int{Dir: 1, Upper: 2, Orphan: 4, Dead: 8, Meta: 16, Origin: 32, HardLink: 64, Sticky: 128, Flushed: 256, Indexed: 512} {
		if flag != want {
			t.Errorf("flag %#x was %#x", flag, want)
		}
	}
	if unsafe.Sizeof(header{}) > uintptr(recSize) {
		t.Errorf("the header has %d bytes", unsafe.Sizeof(header{}))
	}
	if n := uintptr(redoRec*recSize) + unsafe.Sizeof(redo{}); n > uintptr(headerRecs*recSize) {
		t.Errorf("the redo slot ends at %d", n)
	}
}

func TestLife(t *testing.T) {
	both(t, 100, func(t *testing.T, tb *Table) {
		var freed []ID
		tb.OnFree = func(id ID, _ *Rec) { freed = append(freed, id) }
		root := Root.Index()
		d := insert(t, tb, root, "d", Init{Ino: 5, Key: 6, Flags: Dir, Layer: 2, Data: 3, Type: syscall.DT_DIR})
		f := insert(t, tb, d.Index(), "f", Init{Ino: 7, Type: syscall.DT_REG})
		r := tb.Get(d)
		if r == nil || r.Ino != 5 || r.Key != 6 || r.flags != Dir || r.Layer != 2 || r.Data != 3 || r.Type != syscall.DT_DIR || r.Parent() != root {
			t.Fatalf("%+v", r)
		}
		if tb.Name(r) != "d" || tb.LowerName(r) != "d" || r.LowerParent() != root || tb.ID(d.Index()) != d {
			t.Errorf("%+v", r)
		}
		if tb.Lookup(root, "d") != d || tb.Lookup(root, "f") != None || tb.Lookup(d.Index(), "f") != f {
			t.Error("look-up")
		}
		if r.Lookups() != 2 {
			t.Errorf("%d look-ups", r.Lookups())
		}
		if again, made, _ := tb.Insert(root, "d", &Init{Ino: 99}); again != d || made || r.Ino != 5 || r.Lookups() != 3 {
			t.Error("insert of what is there")
		}
		tb.Forget(d, 2)
		tb.AddLookup(d)
		tb.Forget(d, 2)
		if tb.Get(d) == nil || len(freed) != 0 {
			t.Fatal("freed though it has a child")
		}
		if tb.Pin(root, "d") != d || tb.Pin(root, "x") != None {
			t.Error("pin")
		}
		tb.Forget(f, 2)
		if tb.Get(f) != nil || tb.Get(d) == nil || len(freed) != 1 {
			t.Fatalf("freed %v", freed)
		}
		if tb.Forget(f, 1); tb.Count() != 2 {
			t.Errorf("%d nodes", tb.Count())
		}
		tb.Unpin(d)
		if tb.Get(d) != nil || tb.Count() != 1 || len(freed) != 2 || freed[1] != d {
			t.Errorf("freed %v, %d nodes", freed, tb.Count())
		}
		tb.Forget(Root, 100)
		if tb.Get(Root) == nil {
			t.Error("the root is gone")
		}
		for _, id := range []ID{None, Make(0, 1), Make(5, 0), Make(1<<30, 1), ^ID(0), d, f} {
			if tb.Get(id) != nil {
				t.Errorf("%x lives", id)
			}
			tb.Forget(id, 1)
		}
	})
}

// Forget of more than there is frees, and never counts below zero.
func TestForgetTooMuch(t *testing.T) {
	both(t, 10, func(t *testing.T, tb *Table) {
		f := insert(t, tb, 1, "f", Init{})
		tb.Hold(f)
		tb.Forget(f, 1000)
		if r := tb.Get(f); r == nil || r.Lookups() != 0 {
			t.Fatal("held node")
		}
		tb.Unpin(f)
		if tb.Count() != 1 {
			t.Errorf("%d nodes", tb.Count())
		}
	})
}

func TestUnhash(t *testing.T) {
	both(t, 10, func(t *testing.T, tb *Table) {
		f := insert(t, tb, 1, "f", Init{})
		tb.Unhash(f.Index())
		tb.Unhash(f.Index())
		if tb.Lookup(1, "f") != None || tb.Get(f) == nil || tb.Name(tb.Get(f)) != "f" {
			t.Error("unhash")
		}
		g := insert(t, tb, 1, "f", Init{})
		if g == f || tb.Lookup(1, "f") != g {
			t.Error("the name is not free")
		}
		tb.Forget(f, 1)
		tb.Forget(g, 2)
		if tb.Count() != 1 {
			t.Errorf("%d nodes", tb.Count())
		}
		dead, e := tb.InsertDead(1, &Init{Ino: 3})
		if e != 0 || tb.Lookup(1, "") != None || tb.Get(dead).Ino != 3 {
			t.Error("InsertDead")
		}
		if e := tb.Move(dead.Index(), 1, "named", 0); e != 0 || tb.Lookup(1, "named") != dead {
			t.Error("a name for it")
		}
		tb.Forget(dead, 2)
		if tb.Count() != 1 {
			t.Errorf("%d nodes", tb.Count())
		}
	})
}

func TestMove(t *testing.T) {
	long := strings.Repeat("long", 50)
	both(t, 100, func(t *testing.T, tb *Table) {
		a := insert(t, tb, 1, "a", Init{Flags: Dir})
		b := insert(t, tb, 1, "b", Init{Flags: Dir})
		f := insert(t, tb, a.Index(), "f", Init{})
		at := func(parent ID, name string) {
			t.Helper()
			r := tb.Get(f)
			if r.Parent() != parent.Index() || tb.Name(r) != name || tb.Lookup(parent.Index(), name) != f {
				t.Errorf("not at %d/%s: %d/%s", parent, name, r.Parent(), tb.Name(r))
			}
		}
		for _, to := range []struct {
			d    ID
			name string
		}{{a, "g"}, {b, "g"}, {b, long}, {a, long + "x"}, {a, long}, {b, "f"}, {b, "f"}, {a, strings.Repeat("m", 255)}, {a, "f"}} {
			if e := tb.Move(f.Index(), to.d.Index(), to.name, 0); e != 0 {
				t.Fatal(e)
			}
			at(to.d, to.name)
			if tb.redo().valid != 0 {
				t.Error("the redo slot is still valid")
			}
		}
		if tb.names.used != 0 {
			t.Errorf("%d long names are left", tb.names.used)
		}
		// Where the lower object is stays as it was.
		if e := tb.SetOrigin(tb.Get(f)); e != 0 {
			t.Fatal(e)
		}
		_ = tb.Move(f.Index(), b.Index(), "z", 0)
		_ = tb.SetOrigin(tb.Get(f))
		if r := tb.Get(f); tb.LowerName(r) != "f" || r.LowerParent() != a.Index() {
			t.Errorf("origin %d/%s", r.LowerParent(), tb.LowerName(r))
		}
		tb.Forget(a, 10)
		if tb.Get(a) == nil {
			t.Fatal("the origin's directory was freed")
		}
		tb.Forget(f, 100)
		tb.Forget(b, 10)
		if tb.Count() != 1 || tb.names.used != 0 {
			t.Errorf("%d nodes, %d names", tb.Count(), tb.names.used)
		}
	})
}

func TestLinks(t *testing.T) {
	both(t, 100, func(t *testing.T, tb *Table) {
		f := insert(t, tb, 1, "f", Init{Key: 10, Layer: 2})
		k, k2 := Link{2, 10}, Link{0, 20}
		if tb.FindLink(k) != None || tb.PinLink(k) != None {
			t.Error("found too early")
		}
		tb.AddLink(f.Index(), k)
		if tb.FindLink(k) != f || tb.Get(f).Lookups() != 2 || tb.PinLink(k) != f {
			t.Error("not found")
		}
		// A copy-up gives it a second key.
		r := tb.Get(f)
		r.OLayer, r.OKey, r.Layer, r.Key = 2, 10, 0, 20
		tb.AddLink(f.Index(), k2)
		if tb.FindLink(k) != f || tb.FindLink(k2) != f {
			t.Error("two keys")
		}
		g := insert(t, tb, 1, "g", Init{Key: 30, Layer: 1})
		tb.AddLink(g.Index(), Link{1, 30})
		tb.DropLinks(g.Index())
		if tb.FindLink(Link{1, 30}) != None {
			t.Error("found after DropLinks")
		}
		tb.Forget(g, 1)
		tb.Forget(f, 100)
		tb.Unpin(f)
		if tb.Count() != 1 || len(tb.links) != 0 {
			t.Errorf("%d nodes, links %v", tb.Count(), tb.links)
		}
		if tb.FindLink(k) != None {
			t.Error("found after the end")
		}
	})
}

// The last child of a deep path frees all of it.
func TestCascade(t *testing.T) {
	const depth = 20000
	both(t, depth+10, func(t *testing.T, tb *Table) {
		var order []ID
		tb.OnFree = func(id ID, _ *Rec) { order = append(order, id) }
		ids := []ID{Root}
		for i := range depth {
			name := fmt.Sprint(i)
			if i%10 == 0 {
				name = strings.Repeat("n", 100) + name
			}
			ids = append(ids, insert(t, tb, ids[i].Index(), name, Init{Flags: Dir}))
		}
		for _, id := range ids[:depth] {
			tb.Forget(id, 1)
		}
		if tb.Count() != depth+1 {
			t.Fatalf("%d nodes", tb.Count())
		}
		tb.Forget(ids[depth], 1)
		if tb.Count() != 1 || len(order) != depth || order[0] != ids[depth] || order[depth-1] != ids[1] {
			t.Errorf("%d nodes, %d freed", tb.Count(), len(order))
		}
	})
}

func TestGenerations(t *testing.T) {
	both(t, 10, func(t *testing.T, tb *Table) {
		seen := map[ID]bool{}
		for range 10000 {
			id := insert(t, tb, 1, "f", Init{})
			if seen[id] || id.Gen() == 0 {
				t.Fatalf("%x again", id)
			}
			seen[id] = true
			if tb.Forget(id, 1); tb.Get(id) != nil {
				t.Fatal("it lives")
			}
		}
	})
}
