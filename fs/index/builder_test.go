package index

import (
	"slices"
	"testing"
)

const dtReg = 8

// view is what a directory shows, by name: "type:layer".
type shown struct {
	typ   uint8
	layer uint16 // 0 = upper
	ino   uint64
	below []uint16
}

func view(d *Dir) map[string]shown {
	m := map[string]shown{}
	d.Sort()
	d.Walk(0, func(e *Entry, name string, _ uint64) bool {
		s := shown{typ: e.Type(), ino: e.Ino}
		if e.Upper == None {
			s.layer = e.Layer
		}
		if e.Lower == dtDir {
			s.below = d.Below(e, nil)
		}
		m[string([]byte(name))] = s
		return true
	})
	return m
}

func same(t *testing.T, d *Dir, want map[string]shown) {
	t.Helper()
	got := view(d)
	for n, w := range want {
		g, ok := got[n]
		if !ok || g.typ != w.typ || g.layer != w.layer || g.ino != w.ino || !slices.Equal(g.below, w.below) {
			t.Errorf("%s: %+v (there: %v), want %+v", n, g, ok, w)
		}
	}
	for n := range got {
		if _, ok := want[n]; !ok {
			t.Errorf("%s is shown: %+v", n, got[n])
		}
	}
}

func TestBuilderMerges(t *testing.T) {
	b := NewBuilder()
	b.Layer(0)
	b.Entry("upper", dtReg, 100)
	b.Entry("both", dtReg, 101)
	b.Entry("updir", dtDir, 102)
	b.Whiteout("hidden")
	b.Whiteout("nothing-below")
	b.Layer(1)
	b.Entry("both", dtReg, 1)
	b.Entry("updir", dtDir, 2)
	b.Entry("hidden", dtReg, 3)
	b.Entry("dir", dtDir, 4)
	b.Entry("once", dtReg, 5)
	b.Whiteout("white1")
	b.Entry("fileoverdir", dtReg, 6)
	b.Entry("diroverfile", dtDir, 7)
	b.Layer(2)
	b.Entry("dir", dtDir, 24)
	b.Entry("updir", dtReg, 25) // ends the merge
	b.Entry("white1", dtReg, 26)
	b.Entry("fileoverdir", dtDir, 27)
	b.Entry("diroverfile", dtReg, 28)
	b.Whiteout("once")
	b.Layer(4)
	b.Entry("dir", dtDir, 44)
	b.Entry("updir", dtDir, 45)
	b.Entry("diroverfile", dtDir, 46)
	b.Entry("once", dtDir, 47)
	b.Entry("last", dtDir, 48)
	d := b.Done()
	same(t, d, map[string]shown{
		"upper": {dtReg, 0, 100, nil},
		"both":  {dtReg, 0, 101, nil},
		"updir": {dtDir, 0, 102, []uint16{1}},
		"dir":   {dtDir, 1, 4, []uint16{1, 2, 4}},
		"once":  {dtReg, 1, 5, nil}, "fileoverdir": {dtReg, 1, 6, nil},
		"diroverfile": {dtDir, 1, 7, []uint16{1}},
		"last":        {dtDir, 4, 48, []uint16{4}},
	})
	for name, low := range map[string]bool{"hidden": true, "nothing-below": false, "white1": false, "both": true, "upper": false} {
		if e := d.Find(name); e == nil || e.HasLower() != low {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if d.Len() != 11 {
		t.Errorf("%d names", d.Len())
	}
}

// A .wh. file hides lower layers and not its own.
func TestBuilderHide(t *testing.T) {
	b := NewBuilder()
	b.Layer(0)
	b.Hide("up-and-hide")
	b.Entry("up-and-hide", dtReg, 1)
	b.Hide("only-hide")
	b.Layer(1)
	b.Entry("own", dtDir, 2)
	b.Hide("own")
	b.Hide("low")
	b.Entry("up-and-hide", dtReg, 3)
	b.Entry("only-hide", dtReg, 4)
	b.Layer(2)
	b.Entry("own", dtDir, 5)
	b.Entry("low", dtReg, 6)
	d := b.Done()
	same(t, d, map[string]shown{
		"up-and-hide": {dtReg, 0, 1, nil},
		"own":         {dtDir, 1, 2, []uint16{1}},
	})
	if e := d.Find("up-and-hide"); e.HasLower() {
		t.Error("what the upper hides would show again")
	}
	// Hide in the last layer, and of nothing.
	b = NewBuilder()
	b.Layer(1)
	b.Hide("x")
	if d := b.Done(); d.Find("x") == nil || d.Find("x").Visible() || d.Find("x").HasLower() {
		t.Errorf("%+v", d.Find("x"))
	}
}

func TestCutOff(t *testing.T) {
	b := NewBuilder()
	b.Layer(0)
	b.Entry("up", dtReg, 1)
	b.Entry("updir", dtDir, 2)
	b.Whiteout("white")
	b.Layer(1)
	b.Entry("up", dtReg, 3)
	b.Entry("updir", dtDir, 4)
	b.Entry("white", dtReg, 5)
	b.Entry("low", dtReg, 6)
	b.Layer(2)
	b.Entry("updir", dtDir, 7)
	d := b.Done()
	d.CutOff()
	same(t, d, map[string]shown{"up": {dtReg, 0, 1, nil}, "updir": {dtDir, 0, 2, nil}})
	if d.Len() != 2 || d.Find("white") != nil || d.Find("low") != nil {
		t.Errorf("%d names", d.Len())
	}
	if e := d.Find("updir"); len(d.Below(e, nil)) != 0 || e.HasLower() {
		t.Errorf("%+v", e)
	}
}
