package counts

import "testing"

const (
	opReaddir  = 28
	opReadPlus = 44
)

func TestNoAllocationReadDir(t *testing.T) {
	w := newWire(t)
	d := w.lookup(1, "d")
	for name, op := range map[string]uint32{"READDIR": opReaddir, "READDIRPLUS": opReadPlus} {
		p := request(op, d, readIn(4096, 0))
		w.must(p)
		if n := testing.AllocsPerRun(500, func() { w.must(p) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
