package meter

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lease is how long a look holds when it isn't renewed.
const lease = 5 * time.Second

// Watch has the server time its requests for as long as d from now on (0: some
// seconds). It is to be called again before that is over.
func (m *Meter) Watch(d time.Duration) error {
	if err := m.reserve(0, frontSize, timesSize); err != nil {
		return err
	}
	if d == 0 {
		d = lease
	}
	extend(&m.watched, d)
	return nil
}

// reserve takes the memory for a part that the server is to write, once.
func (m *Meter) reserve(part int, off, n int64) error {
	if m.reserved[part] {
		return nil
	}
	f := m.file
	if f == nil {
		var err error
		if f, err = os.OpenFile(m.path, os.O_RDWR, 0); err != nil {
			return fmt.Errorf("its server has ended: %w", err)
		}
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || uint64(st.Dev) != m.dev || st.Ino != m.ino {
			return errors.New("its server has ended")
		}
	}
	if err := unix.Fallocate(int(f.Fd()), 0, off, n); err != nil {
		return fmt.Errorf("no memory to look at the mount: %w", err)
	}
	m.reserved[part] = true
	return nil
}

// Snapshot is what a meter has counted by some time.
type Snapshot struct {
	At            time.Time
	N             [Ops]uint64
	Read, Written uint64
	Times         [Ops][Buckets]uint64
	Sum           [Ops]uint64 // nanoseconds of those

	// Known are the names and attributes that were in memory, Asked those that
	// a layer was asked for.
	Known, Asked uint64

	// Of the union.
	CopyUps, CopiedUp uint64
}

// Snapshot reads it.
func (m *Meter) Snapshot() *Snapshot {
	s := &Snapshot{
		At:      time.Now(),
		CopyUps: uint64(m.Tree.CopyUps.Load()), CopiedUp: uint64(m.Tree.CopiedUp.Load()),
	}
	for i := range m.counts {
		c := &m.counts[i]
		for op := range c.N {
			s.N[op] += c.N[op].Load()
		}
		s.Read += c.Read.Load()
		s.Written += c.Written.Load()
		s.Known += c.Known.Load()
		s.Asked += c.Asked.Load()
		if m.times == nil {
			continue
		}
		for op := range s.Times {
			for b := range s.Times[op] {
				s.Times[op][b] += m.times[i].N[op][b].Load()
			}
			s.Sum[op] += m.times[i].Sum[op].Load()
		}
	}
	return s
}

// Since is what was counted after old.
func (s *Snapshot) Since(old *Snapshot) *Snapshot {
	d := *s
	d.Read -= old.Read
	d.Written -= old.Written
	d.CopyUps -= old.CopyUps
	d.CopiedUp -= old.CopiedUp
	d.Known -= old.Known
	d.Asked -= old.Asked
	for op := range d.N {
		d.N[op] -= old.N[op]
		d.Sum[op] -= old.Sum[op]
		for b := range d.Times[op] {
			d.Times[op][b] -= old.Times[op][b]
		}
	}
	return &d
}

// Total is the number of requests.
func (s *Snapshot) Total() (n uint64) {
	for _, k := range s.N {
		n += k
	}
	return n
}

// Quantile is how long the fastest part q of the requests took at most, as far as
// the buckets tell: within one, times are taken to lie evenly. It is 0 when none
// was timed.
func (s *Snapshot) Quantile(q float64) time.Duration {
	var sum [Buckets]uint64
	var n uint64
	for op := range s.Times {
		for b, k := range s.Times[op] {
			sum[b] += k
			n += k
		}
	}
	if n == 0 {
		return 0
	}
	want, below := q*float64(n), 0.0
	for b, k := range sum {
		if below+float64(k) >= want && k > 0 {
			low := time.Duration(0)
			if b > 0 {
				low = Bound(b - 1)
			}
			return low + time.Duration(float64(Bound(b)-low)*(want-below)/float64(k))
		}
		below += float64(k)
	}
	return Bound(Buckets - 1)
}
