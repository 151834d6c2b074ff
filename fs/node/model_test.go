package node

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// place is a name in a directory.
type place struct {
	parent ID
	name   string
}

// model is what a table should hold.
type model struct {
	tb     *Table
	at     map[place]ID  // hashed
	of     map[ID]place  // living, hashed or not
	counts map[ID]uint64 // look-ups
	pins   map[ID]int
	seen   map[ID]bool
}

func (m *model) children(id ID) bool {
	for _, p := range m.of {
		if p.parent == id {
			return true
		}
	}
	return false
}

// settle drops what nothing holds.
func (m *model) settle() {
	for again := true; again; {
		again = false
		for id, p := range m.of {
			if id != Root && m.counts[id] == 0 && m.pins[id] == 0 && !m.children(id) {
				delete(m.of, id)
				if m.at[p] == id {
					delete(m.at, p)
				}
				again = true
			}
		}
	}
}

func (m *model) ids() []ID {
	all := []ID{Root}
	for id := range m.of {
		if id != Root {
			all = append(all, id)
		}
	}
	return all
}

// within says whether id is dir or below it.
func (m *model) within(id, dir ID) bool {
	for ; id != Root; id = m.of[id].parent {
		if id == dir {
			return true
		}
	}
	return dir == Root
}

func (m *model) check(t *rapid.T) {
	m.settle()
	if m.tb.Count() != len(m.of) {
		t.Fatalf("%d nodes, want %d", m.tb.Count(), len(m.of))
	}
	for id, p := range m.of {
		r := m.tb.Get(id)
		if r == nil {
			t.Fatalf("%x is gone", id)
		}
		if id == Root {
			continue
		}
		if r.Parent() != p.parent.Index() || m.tb.Name(r) != p.name || r.Lookups() != m.counts[id] {
			t.Fatalf("%x: %d/%s with %d look-ups, want %+v with %d", id, r.Parent(), m.tb.Name(r), r.Lookups(), p, m.counts[id])
		}
	}
	for p, id := range m.at {
		if got := m.tb.Pin(p.parent.Index(), p.name); got != id {
			t.Fatalf("%+v is %x, want %x", p, got, id)
		}
		m.tb.Unpin(id)
	}
}

var modelNames = []string{"a", "b", "c", strings.Repeat("x", 27), strings.Repeat("x", 28), strings.Repeat("x", 29), strings.Repeat("y", 255)}

func TestModel(t *testing.T) {
	both(t, 2000, func(t *testing.T, tb *Table) {
		rapid.Check(t, func(t *rapid.T) {
			m := &model{tb: tb, at: map[place]ID{}, of: map[ID]place{Root: {}}, counts: map[ID]uint64{}, pins: map[ID]int{}, seen: map[ID]bool{}}
			pick := func(t *rapid.T) ID {
				ids := m.ids()
				return ids[rapid.IntRange(0, len(ids)-1).Draw(t, "node")]
			}
			name := rapid.SampledFrom(modelNames)
			t.Repeat(map[string]func(*rapid.T){
				"": m.check,
				"insert": func(t *rapid.T) {
					p := place{pick(t), name.Draw(t, "name")}
					id, made, e := tb.Insert(p.parent.Index(), p.name, &Init{Ino: 1})
					if e != 0 || made == (m.at[p] != None) || !made && m.at[p] != id || made && m.seen[id] {
						t.Fatalf("%x %v %v", id, made, e)
					}
					m.at[p], m.of[id], m.seen[id] = id, p, true
					m.counts[id]++
				},
				"lookup": func(t *rapid.T) {
					p := place{pick(t), name.Draw(t, "name")}
					id := tb.Lookup(p.parent.Index(), p.name)
					if id != m.at[p] {
						t.Fatalf("%x, want %x", id, m.at[p])
					}
					if id != None {
						m.counts[id]++
					}
				},
				"forget": func(t *rapid.T) {
					id := pick(t)
					n := rapid.Uint64Range(1, 3).Draw(t, "n")
					tb.Forget(id, n)
					m.counts[id] -= min(n, m.counts[id])
				},
				"hold": func(t *rapid.T) {
					id := pick(t)
					if id == Root {
						return
					}
					tb.Hold(id)
					m.pins[id]++
				},
				"unpin": func(t *rapid.T) {
					id := pick(t)
					if m.pins[id] > 0 {
						m.pins[id]--
						tb.Unpin(id)
					}
				},
				"unhash": func(t *rapid.T) {
					id := pick(t)
					if p := m.of[id]; id != Root && m.at[p] == id {
						tb.Unhash(id.Index())
						delete(m.at, p)
					}
				},
				"move": func(t *rapid.T) {
					id, p := pick(t), place{pick(t), name.Draw(t, "name")}
					if id == Root || m.within(p.parent, id) || m.counts[m.of[id].parent] == 0 && m.of[id].parent != Root {
						return
					}
					gone := m.at[p]
					if gone == id {
						return
					}
					if gone != None {
						tb.Unhash(gone.Index())
						delete(m.at, p)
					}
					if e := tb.Move(id.Index(), p.parent.Index(), p.name, gone.Index()); e != 0 {
						t.Fatal(e)
					}
					if old := m.of[id]; m.at[old] == id {
						delete(m.at, old)
					}
					m.at[p], m.of[id] = id, p
				},
			})
			// Forget all: nothing is left.
			for id := range m.of {
				for ; m.pins[id] > 0; m.pins[id]-- {
					tb.Unpin(id)
				}
			}
			for id := range m.of {
				tb.Forget(id, m.counts[id])
				m.counts[id] = 0
			}
			m.check(t)
			if tb.Count() != 1 {
				t.Fatalf("%d nodes at the end", tb.Count())
			}
		})
	})
}

// TestConcurrent: many workers on few names; at the end nothing is left. It
// means most under the race detector, which sees the table on the heap.
func TestConcurrent(t *testing.T) {
	both(t, 4000, func(t *testing.T, tb *Table) {
		var lock sync.Mutex // the caller's locks for nodes and directories
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(7, uint64(w)))
				held := map[ID]uint64{}
				for range 3000 {
					parent := Root
					for id := range held {
						if r.IntN(3) == 0 {
							parent = id
						}
						break
					}
					name := fmt.Sprint(r.IntN(5))
					if r.IntN(8) == 0 {
						name = strings.Repeat(name, 100)
					}
					switch r.IntN(6) {
					case 0, 1:
						id, _, e := tb.Insert(parent.Index(), name, &Init{Ino: uint64(w), Flags: Dir})
						if e != 0 {
							t.Error(e)
							return
						}
						held[id]++
					case 2:
						if id := tb.Lookup(parent.Index(), name); id != None {
							if tb.Get(id) == nil {
								t.Error("looked up and dead")
							}
							held[id]++
						}
					case 3:
						if id := tb.Pin(parent.Index(), name); id != None {
							if tb.Get(id) == nil {
								t.Error("pinned and dead")
							}
							tb.Unpin(id)
						}
					case 4:
						// A file moves from one name to another in its place.
						lock.Lock()
						if id := tb.Pin(Root.Index(), name); id != None {
							to := fmt.Sprint(r.IntN(50))
							if old := tb.Pin(Root.Index(), to); old != None {
								tb.Unhash(old.Index())
								tb.Unpin(old)
							}
							if tb.Get(id).hashed == 1 {
								_ = tb.Move(id.Index(), Root.Index(), to, 0)
							}
							tb.Unpin(id)
						}
						lock.Unlock()
					case 5:
						for id, n := range held {
							tb.Forget(id, n)
							delete(held, id)
							if r.IntN(2) == 0 {
								break
							}
						}
					}
				}
				for id, n := range held {
					tb.Forget(id, n)
				}
			}()
		}
		wg.Wait()
		if n := tb.Count(); n != 1 {
			t.Errorf("%d nodes are left", n)
		}
		for i := range tb.shards {
			if n := tb.shards[i].n; n != 0 {
				t.Errorf("shard %d has %d", i, n)
			}
		}
	})
}

func TestNoAllocation(t *testing.T) {
	tb, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer tb.Close()
	insert(t, tb, 1, "f", Init{})
	for name, fn := range map[string]func(){
		"lookup":  func() { tb.Forget(tb.Lookup(1, "f"), 1) },
		"absent":  func() { tb.Lookup(1, "g") },
		"pin":     func() { tb.Unpin(tb.Pin(1, "f")) },
		"insert":  func() { id, _, _ := tb.Insert(1, "new", &Init{}); tb.Forget(id, 1) },
		"getname": func() { _ = tb.Name(tb.Rec(1)) },
	} {
		if n := testing.AllocsPerRun(1000, fn); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
