package index

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestZeroDir(t *testing.T) {
	var d Dir
	if d.Find("x") != nil || d.Len() != 0 || !d.Sorted() {
		t.Error("an empty directory")
	}
	d.Walk(0, func(*Entry, string, uint64) bool { t.Error("an entry"); return true })
	d.CutOff()
	d.Add("x").Upper = dtReg
	if d.Sorted() || d.Find("x") == nil {
		t.Error("after Add")
	}
	d.Sort()
	if !d.Sorted() {
		t.Error("not sorted")
	}
}

// TestHashes: offsets are given to clients, which keep them over remounts. They
// must never change.
func TestHashes(t *testing.T) {
	for name, want := range map[string]uint64{
		"a": 0xbbdf44c0dfc4d00, "etc": 0x271bc7e5694b0400, strings.Repeat("n", 255): 0x340e28d8af9a7700,
	} {
		if got := hashName(name); got != want {
			t.Errorf("%.10s: %#x, was %#x", name, got, want)
		}
	}
	for i := range 10000 {
		if h := hashName(fmt.Sprint(i)); h < 3 || h>>62 != 0 {
			t.Errorf("%d: %#x", i, h)
		}
	}
}

func TestSettle(t *testing.T) {
	var d Dir
	for i := range 100 {
		d.Add(fmt.Sprint(i)).Upper = dtReg
	}
	for i := range 100 {
		e := d.Find(fmt.Sprint(i))
		d.Settle(e) // still there
		if d.Find(fmt.Sprint(i)) == nil {
			t.Fatal("settled too early")
		}
		if i%3 != 0 {
			e.Upper = None
			d.Settle(e)
			d.Settle(e)
		}
	}
	if d.Len() != 34 {
		t.Errorf("%d names", d.Len())
	}
	// A name that comes back brings nothing with it.
	e := d.Add("1")
	if *e != (Entry{hash: e.hash, nameOff: e.nameOff, nameLen: 1}) || d.Len() != 35 {
		t.Errorf("%+v", e)
	}
	e.Upper = dtReg
	n := 0
	d.All(func(e *Entry, name string) bool { n++; return true })
	if n != 35 {
		t.Errorf("All gave %d", n)
	}
}

// Names that come and go don't make a directory grow for ever.
func TestTombstones(t *testing.T) {
	var d Dir
	d.Add("stays").Upper = dtReg
	for i := range 100000 {
		n := fmt.Sprintf("temporary-%d", i)
		d.Add(n).Upper = dtReg
		e := d.Find(n)
		e.Upper = None
		d.Settle(e)
	}
	if cap(d.ents) > 1000 || cap(d.names) > 100000 || len(d.slots) > 4000 {
		t.Errorf("%d entries, %d bytes of names, %d slots for one name", cap(d.ents), cap(d.names), len(d.slots))
	}
	if d.Len() != 1 || d.Find("stays") == nil {
		t.Error("the one that stays is lost")
	}
}

// Names with one hash are all found and all listed.
func TestCollision(t *testing.T) {
	var d Dir
	names := []string{"one", "two", "three", "other"}
	for _, n := range names {
		d.Add(n).Upper = dtReg
	}
	for i := range d.ents[:2] {
		d.ents[i].hash = 1 << 40
	}
	d.Sort()
	for piece := 3; piece <= 5; piece++ {
		seen := map[string]bool{}
		off := uint64(0)
		for range 20 {
			k := 0
			d.Walk(off, func(_ *Entry, name string, next uint64) bool {
				if k == piece {
					return false
				}
				seen[name], off = true, next
				k++
				return true
			})
		}
		if len(seen) != len(names) {
			t.Errorf("pieces of %d: %v", piece, seen)
		}
	}
	// In the table of slots they stand side by side.
	d.slots = nil
	d.rehash()
	for k := range d.ents {
		h := d.ents[k].hash & uint64(len(d.slots)-1)
		for d.slots[h] != uint32(k+1) {
			if d.slots[h] == 0 {
				t.Fatalf("%s is not found", names[k])
			}
			h = (h + 1) & uint64(len(d.slots)-1)
		}
	}
}

func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	const n = 1 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	b := NewBuilder()
	b.Layer(1)
	for i := range n {
		b.Entry(fmt.Sprintf("file-%07d", i), dtReg, uint64(i))
	}
	d := b.Done()
	if per := (heap() - before) / n; per > 80 {
		t.Errorf("%d bytes a name", per)
	}
	d.Sort()
	k, last := 0, uint64(0)
	d.Walk(0, func(_ *Entry, _ string, next uint64) bool {
		k++
		if next <= last {
			t.Fatalf("offset %d after %d", next, last)
		}
		last = next
		return true
	})
	if k != n || d.Find("file-0000007").Ino != 7 || d.Find("file-9") != nil {
		t.Errorf("%d names", k)
	}
	if a := testing.AllocsPerRun(100, func() { d.Find("file-0000099"); d.Find("absent") }); a > 0 {
		t.Errorf("%v allocations", a)
	}
	runtime.KeepAlive(d)
}

// TestModel compares a Dir with a map, readers that stop and go on included: a
// name that is there all the time is seen once, whatever comes and goes.
func TestModel(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(rapid.SampledFrom([]string{"a", "b", ".", "ü"}).Draw(t, "c"), rapid.IntRange(1, 5).Draw(t, "n")) +
			fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "i"))
	})
	rapid.Check(t, func(t *rapid.T) {
		var d Dir
		type sides struct{ up, low uint8 }
		m := map[string]sides{}
		for i := range rapid.IntRange(0, 30).Draw(t, "lowers") {
			n := fmt.Sprint("a", i)
			d.Add(n).Lower = dtReg
			m[n] = sides{low: dtReg}
		}
		visible := func(n string) bool {
			s := m[n]
			return s.up != Whiteout && (s.up != None || s.low != None)
		}
		off := uint64(0)
		seen, always := map[string]int{}, map[string]bool{}
		start := func() {
			off = 0
			clear(seen)
			clear(always)
			for n := range m {
				always[n] = visible(n)
			}
		}
		start()
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				live := 0
				for n, s := range m {
					e := d.Find(n)
					if s == (sides{}) {
						if e != nil {
							t.Fatalf("%s is there", n)
						}
						continue
					}
					live++
					if e == nil || e.Upper != s.up || e.Lower != s.low || d.Name(e) != n {
						t.Fatalf("%s: %+v, want %+v", n, e, s)
					}
				}
				if d.Len() != live {
					t.Fatalf("%d names, want %d", d.Len(), live)
				}
			},
			"create": func(t *rapid.T) {
				n := name.Draw(t, "name")
				d.Add(n).Upper = dtReg
				m[n] = sides{dtReg, m[n].low}
			},
			"remove": func(t *rapid.T) {
				n := name.Draw(t, "name")
				e := d.Find(n)
				if e == nil {
					return
				}
				s := m[n]
				if s.up = None; s.low != None {
					s.up = Whiteout
				}
				e.Upper, m[n] = s.up, s
				d.Settle(e)
				delete(always, n)
			},
			"cutoff": func(t *rapid.T) {
				if rapid.IntRange(0, 20).Draw(t, "rare") > 0 {
					return
				}
				d.CutOff()
				for n, s := range m {
					if s.up == Whiteout {
						s.up = None
					}
					s.low = None
					if m[n] = s; !visible(n) {
						delete(always, n)
					}
				}
			},
			"read": func(t *rapid.T) {
				k, max := 0, rapid.IntRange(1, 5).Draw(t, "piece")
				d.Sort()
				d.Walk(off, func(e *Entry, n string, next uint64) bool {
					if k == max {
						return false
					}
					if !visible(n) || next <= off {
						t.Fatalf("%s at %d after %d", n, next, off)
					}
					seen[string([]byte(n))]++
					off = next
					k++
					return true
				})
				if k == max {
					return
				}
				for n, was := range always {
					if was && seen[n] != 1 {
						t.Fatalf("%s was seen %d times", n, seen[n])
					}
				}
				for n, k := range seen {
					if k > 1 {
						t.Fatalf("%s was seen %d times", n, k)
					}
				}
				start()
			},
		})
	})
}

func TestBelowAppends(t *testing.T) {
	b := NewBuilder()
	for l := uint16(1); l < 600; l++ {
		b.Layer(l)
		b.Entry("deep", dtDir, uint64(l))
		if l%2 == 0 {
			b.Entry("half", dtDir, uint64(l))
		}
	}
	d := b.Done()
	got := d.Below(d.Find("deep"), []uint16{0})
	if len(got) != 600 || !slices.IsSorted(got) {
		t.Errorf("%d layers", len(got))
	}
	if half := d.Below(d.Find("half"), nil); len(half) != 299 || half[0] != 2 || half[298] != 598 {
		t.Errorf("%v", half)
	}
}
