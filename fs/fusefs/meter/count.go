package meter

import (
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Buckets is how many lengths of time are told apart; bucket i has what took less
// than [Bound](i), and the last one all that took longer.
const Buckets = 32

// Bound is the end of a bucket.
func Bound(i int) time.Duration { return 256 << i }

// Exported says whether a bucket's end is one that Prometheus gets: from a
// microsecond to some seconds, each four times the one before.
func Exported(i int) bool { return i >= 2 && i <= 26 && i%2 == 0 }

// bucket is where a duration belongs.
func bucket(d time.Duration) int {
	return min(max(bits.Len64(uint64(max(d, 0)))-8, 0), Buckets-1)
}

// Place is where one goroutine counts. Several may have the place Shared. All
// additions are atomic: where the line is the goroutine's own they cost as little as
// any store that others are to see.
type Place struct {
	counts *Counts
	times  *Times // nil in a private meter
}

// Place gives a goroutine its place.
func (m *Meter) Place(i int) Place {
	i = min(i, Shared)
	p := Place{counts: &m.counts[i]}
	if m.times != nil {
		p.times = &m.times[i]
	}
	return p
}

// Request counts one.
func (p *Place) Request(op uint32) { p.counts.N[op%Ops].Add(1) }

// Read counts bytes that were read.
func (p *Place) Read(n int) { p.counts.Read.Add(uint64(n)) }

// Written counts bytes that were written.
func (p *Place) Written(n int) { p.counts.Written.Add(uint64(n)) }

// Answer counts an answer: whether a layer was asked for it.
func (p *Place) Answer(asked bool) {
	if asked {
		p.counts.Asked.Add(1)
	} else {
		p.counts.Known.Add(1)
	}
}

// Took counts how long a request took.
func (p *Place) Took(op uint32, d time.Duration) {
	if p.times != nil {
		p.times.N[op%Ops][bucket(d)].Add(1)
		p.times.Sum[op%Ops].Add(uint64(max(d, 0)))
	}
}

// Looked says whether somebody looks, at the price of two loads. It may be that
// the lease is over: then Watched and Traced say no, and end it.
func (h *Head) Looked() bool { return h.watched.Load()|h.traced.Load() != 0 }

// Watched says whether requests are to be timed at the time now.
func (h *Head) Watched(now int64) bool { return holds(&h.watched, now) }

// Traced says whether they are to be written down.
func (h *Head) Traced(now int64) bool { return holds(&h.traced, now) }

func holds(lease *atomic.Int64, now int64) bool {
	until := lease.Load()
	if until == 0 {
		return false
	}
	if now > until {
		lease.CompareAndSwap(until, 0)
		return false
	}
	return true
}

// Now is CLOCK_MONOTONIC, which Go reads without a system call.
func Now() int64 { return int64(time.Since(zero)) + zeroAt }

var zero, zeroAt = clock()

func clock() (time.Time, int64) {
	var t unix.Timespec
	now := time.Now()
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // fails for no clock that there is
	return now, t.Nano()
}
