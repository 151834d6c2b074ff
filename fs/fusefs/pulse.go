package fusefs

import (
	"sync/atomic"
	"time"
)

// pulse calls a function every pulsePeriod while requests come. An idle server
// has no timer: nothing wakes it up.
//
// The timer itself matters, too. Go 1.26 can lose a goroutine on its way into a
// system call: entersyscall looks for a collection that waits before it marks the
// goroutine as being in the call, and the collector looks for goroutines in calls
// only once. A reader that then sits in read(2) keeps the world from stopping.
// The runtime's monitor would take the processor from it, but it sleeps during
// a collection: for a minute, or until the next timer.
type pulse struct {
	state atomic.Uint32
	timer *time.Timer
	each  func() (busy bool)
}

const pulsePeriod = 4 * time.Millisecond

// The states of a pulse.
const (
	pulseOff  = iota // no timer
	pulseOld         // the timer runs; no request since it fired last
	pulseBusy        // the timer runs; requests have come since
)

func (p *pulse) init(each func() (busy bool)) {
	p.each = each
	p.timer = time.AfterFunc(time.Hour, p.tick)
	p.timer.Stop()
}

// beat is called for each request. It answers true for the first of a period.
func (p *pulse) beat() bool {
	if p.state.Load() == pulseBusy {
		return false
	}
	if p.state.Swap(pulseBusy) == pulseOff {
		p.timer.Reset(pulsePeriod)
	}
	return true
}

// tick is the timer's function. It ends the pulse when a period has passed
// without a request, and none is being handled.
func (p *pulse) tick() {
	if !p.each() && p.state.CompareAndSwap(pulseOld, pulseOff) {
		return
	}
	p.state.Store(pulseOld)
	p.timer.Reset(pulsePeriod)
}
