package fusefs

import (
	"sync/atomic"
	"time"
)

// pulse keeps a timer of the Go runtime pending while requests come.
//
// Go 1.26 can lose a goroutine on its way into a system call: entersyscall looks
// for a collection that waits before it marks the goroutine as being in the
// call, and the collector looks for goroutines in calls only once. A reader that
// then sits in read(2) keeps the world from stopping. The runtime's monitor would
// take the processor from it, but it sleeps during a collection: for a minute, or
// until the next timer. So there is a next timer, and a request waits for some
// milliseconds at the worst and not for a minute.
//
// An idle server has no timer: nothing wakes it up.
type pulse struct {
	state atomic.Uint32
	timer *time.Timer
}

const pulsePeriod = 20 * time.Millisecond

// The states of a pulse.
const (
	pulseOff  = iota // no timer
	pulseOld         // the timer runs; no request since it fired last
	pulseBusy        // the timer runs; requests have come since
)

func (p *pulse) init() {
	p.timer = time.AfterFunc(time.Hour, p.tick)
	p.timer.Stop()
}

// beat is called for each request.
func (p *pulse) beat() {
	if p.state.Load() == pulseBusy {
		return
	}
	if p.state.Swap(pulseBusy) == pulseOff {
		p.timer.Reset(pulsePeriod)
	}
}

// tick is the timer's function.
func (p *pulse) tick() {
	if p.state.CompareAndSwap(pulseOld, pulseOff) {
		return
	}
	p.state.Store(pulseOld)
	p.timer.Reset(pulsePeriod)
}
