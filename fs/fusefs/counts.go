package fusefs

import (
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/union"
)

// tallier is a Tree that counts on its own, too.
type tallier interface{ TallyIn(t *union.Tally) }

var _ tallier = (*union.FS)(nil)

// meet has the server count in c's meter, or in one of its own.
func (s *Server) meet(m *meter.Meter) {
	if m == nil {
		m = meter.Private()
	}
	s.meter = m
	if t, ok := s.tree.(tallier); ok {
		t.TallyIn(&m.Tree)
	}
}

// place gives a reader its place in the meter, which nobody else writes.
func (s *Server) place() meter.Place {
	return s.meter.Place(min(int(s.readers.Add(1))-1, meter.Shared))
}

// SlowTasks is how many requests have left their reader for a goroutine of their
// own.
func (s *Server) SlowTasks() uint64 { return s.slow.total.Load() }

// OpName is the protocol's name of an opcode; "UNKNOWN" for one that we don't
// know.
func OpName(code uint32) string {
	if code >= opCount {
		code = 0
	}
	return ops[code].name
}

// OpNames are all names that OpName may give.
func OpNames() (names []string) {
	seen := map[string]bool{}
	for i := range ops {
		if n := ops[i].name; !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}

// Counts says how many requests of each kind have come, by the names of the
// protocol ("LOOKUP", "READDIRPLUS", ...). Kinds that have not come are absent;
// opcodes that we don't know are counted as "UNKNOWN".
func (s *Server) Counts() map[string]uint64 { return CountsOf(s.meter.Snapshot()) }

// CountsOf is that of a snapshot.
func CountsOf(snap *meter.Snapshot) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range snap.N {
		if n > 0 {
			m[OpName(uint32(i))] += n
		}
	}
	return m
}

// look finds out what whoever looks at the mount wants to know of this request.
func (w *worker) look() {
	now := meter.Now()
	w.watched, w.traced = w.s.meter.Watched(now), w.s.meter.Traced(now)
	if w.watched || w.traced || w.s.trace != nil {
		w.start = now
	}
}

// observed tells them.
func (w *worker) observed(n int, e syscall.Errno) {
	took := time.Duration(meter.Now() - w.start)
	if w.watched {
		w.place.Took(w.opcode(), took)
	}
	if w.traced {
		w.record(n, e, took)
	}
	if w.s.trace != nil {
		w.s.trace.line(w, n, e, took)
	}
}
