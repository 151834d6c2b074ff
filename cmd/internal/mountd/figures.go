package mountd

import (
	"time"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/snapshot/servers"
)

// timedFor is how long requests are timed after somebody has asked for counts.
const timedFor = 5 * time.Minute

// counts sums what all mounts have done.
func (s *server) counts() (sum servers.Response) {
	s.mu.Lock()
	all := make([]*mounted, 0, len(s.mounts))
	for _, m := range s.mounts {
		all = append(all, m)
	}
	s.mu.Unlock()
	sum.Counts, sum.Figures = map[string]uint64{}, &servers.Figures{}
	for _, m := range all {
		m.using(func() {
			sum.Bytes += m.tree.CopiedUp()
			for k, n := range m.server.Counts() {
				sum.Counts[k] += n
			}
			if m.meter == nil {
				return
			}
			if err := m.meter.Watch(timedFor); err != nil {
				s.log.Printf("mount on %s: %v", m.dir, err)
			}
			sum.Figures.Add(figuresOf(m.meter.Snapshot()))
		})
	}
	return sum
}

func figuresOf(s *meter.Snapshot) *servers.Figures {
	f := &servers.Figures{
		CopyUps: s.CopyUps, Known: s.Known, Asked: s.Asked, Read: s.Read, Written: s.Written,
		Times: map[string]servers.Times{},
	}
	for op := range s.Times {
		t := servers.Times{Sum: float64(s.Sum[op]) / 1e9, Buckets: map[int64]uint64{}}
		for b, n := range s.Times[op] {
			t.Count += n
			if meter.Exported(b) {
				t.Buckets[int64(meter.Bound(b))] = t.Count
			}
		}
		if t.Count > 0 {
			f.Times[fusefs.OpName(uint32(op))] = t
		}
	}
	return f
}
