package index

import "testing"

// A reader that takes one entry at a time gets past names with one hash. (Names
// with one hash can be made: a hostile layer makes ls run for ever.)
func TestCollisionProgress(t *testing.T) {
	var d Dir
	for _, n := range []string{"one", "two", "three", "other"} {
		d.Add(n).Upper = dtReg
	}
	for i := range d.ents[:3] {
		d.ents[i].hash = 1 << 40
	}
	d.Sort()
	seen := map[string]bool{}
	off := uint64(0)
	for range 20 {
		d.Walk(off, func(_ *Entry, name string, next uint64) bool {
			seen[name], off = true, next
			return false
		})
	}
	if len(seen) != 4 {
		t.Errorf("20 reads gave %v", seen)
	}
}
