package fusefs

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// crew are the goroutines that read requests. One of them reads as long as that
// is enough: the kernel wakes waiting readers in turn, so a second one makes a
// lone client wake a cold thread with every request. How many read is looked at
// every [pulsePeriod] while requests come:
//
//   - all are in the middle of the request that they were in a period ago, and
//     another one waits: they wait for a disk, another one reads;
//   - all have been at work, and a request waited, whenever it was looked at, for
//     fullPeriods: there are more clients than one reader can serve, another one
//     reads, up to one a CPU;
//   - one has been idle for sparePeriods: one rests after its next request.
//
// A client that is alone never has a request waiting while another is handled.
type crew struct {
	s     *Server
	pulse pulse

	// surplus is the number of readers that should rest; read by all after
	// each request, written under mu.
	surplus atomic.Int32
	over    chan struct{} // closed when the first reader has ended

	mu          sync.Mutex
	readers     []*reader // grows only
	active      int
	full, spare int // periods in a row
	ended       bool
	short       bool  // it has been said that there was no memory for another reader
	err         error // of the first that ended with one
	wg          sync.WaitGroup
}

// reader is one of the crew.
type reader struct {
	// turn is odd while a request is handled; written by the reader only.
	turn atomic.Uint32
	_    [60]byte // a cache line of its own

	seen   uint32 // turn at the last look; under crew.mu
	active bool   // under crew.mu
	wake   chan struct{}
}

const (
	fullPeriods  = 12
	sparePeriods = 25
)

func (c *crew) init(s *Server) {
	c.s = s
	c.over = make(chan struct{})
	c.pulse.init(c.look)
}

// serve reads until the mount is gone.
func (c *crew) serve() error {
	c.mu.Lock()
	err := c.growLocked(1)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.wg.Wait()
	return c.err
}

// growLocked lets one more reader read, at most limit of them.
func (c *crew) growLocked(limit int) error {
	c.full, c.spare = 0, 0
	c.surplus.Store(0)
	if c.ended || c.active >= limit {
		return nil
	}
	for _, r := range c.readers {
		if !r.active {
			c.active++
			r.active = true
			r.wake <- struct{}{}
			return nil
		}
	}
	b, err := newBuffers()
	if err != nil {
		return err
	}
	if c.s.cfg.Flight != nil {
		b.populate()
	}
	r := &reader{active: true, wake: make(chan struct{}, 1)}
	c.active++
	c.readers = append(c.readers, r)
	c.wg.Add(1)
	go c.run(r, b)
	return nil
}

// look is what the pulse does; it says whether a request is being handled.
func (c *crew) look() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	handling, stuck := 0, 0
	for _, r := range c.readers {
		turn := r.turn.Load()
		if r.active && turn%2 == 1 {
			handling++
			if turn == r.seen {
				stuck++
			}
		}
		r.seen = turn
	}
	limit := c.s.cfg.readers()
	waits := handling == c.active && c.s.dev.waiting()
	var err error
	switch {
	case waits && stuck == c.active:
		err = c.growLocked(limit)
	case waits:
		c.spare = 0
		if c.full++; c.full >= fullPeriods {
			err = c.growLocked(min(limit, runtime.NumCPU()))
		}
	case handling < c.active && c.active-stuck > 1:
		c.full = 0
		if c.spare++; c.spare >= sparePeriods {
			c.spare = 0
			c.surplus.Store(1)
		}
	default:
		c.full, c.spare = 0, 0
	}
	if err != nil && !c.short {
		c.short = true
		c.s.log.Printf("fuse: requests may have to wait for each other: %v", err)
	}
	return handling > 0
}

// rest lets a reader wait until it is wanted again, if it is one too many. It
// answers false when the session is over.
func (c *crew) rest(r *reader) bool {
	c.mu.Lock()
	if c.surplus.Load() == 0 || c.active < 2 {
		c.mu.Unlock()
		return true
	}
	c.surplus.Add(-1)
	c.active--
	r.active = false
	c.mu.Unlock()
	select {
	case <-r.wake:
		return true
	case <-c.over:
		return false
	}
}

func (c *crew) run(r *reader, b *buffers) {
	defer c.wg.Done()
	defer b.free()
	err := c.loop(r, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if !c.ended {
		c.ended = true
		close(c.over)
	}
}

// loop is one reader. It ends with nil when the mount is gone.
func (c *crew) loop(r *reader, b *buffers) error {
	s := c.s
	w := s.newWorker(b)
	defer s.cfg.Flight.leave(w.seat)
	cut := false
	for turn := uint32(0); ; {
		n, e := s.dev.read(b.in)
		switch e {
		case 0:
			cut = false
		case syscall.ECONNABORTED:
			// The mount went while a request was being fetched (fuse_dev_do_read);
			// it is what a connection that was aborted says again and again.
			if cut {
				return fmt.Errorf("the mount was aborted: %w", e)
			}
			cut = true
			continue
		case syscall.EINTR, syscall.EAGAIN, syscall.ENOENT: // ENOENT: the request was withdrawn
			continue
		case syscall.ENODEV:
			return nil
		default:
			return fmt.Errorf("/dev/fuse can't be read any more: %w", e)
		}
		turn++
		r.turn.Store(turn)
		if c.pulse.beat() {
			// A goroutine that never meets the scheduler looks like one that
			// hogs it: after 10 ms the runtime's monitor takes the processor
			// from it in mid-call, and stays wide awake for a while.
			runtime.Gosched()
		}
		k := w.handle(b.in[:n])
		// Before the reply: the client may go on at once, on this CPU, and its
		// next request isn't one that comes beside this one.
		turn++
		r.turn.Store(turn)
		if k > 0 {
			w.send(k)
			if w.op == &ops[opInit] && w.set == nil && s.set.Load() != nil {
				s.isReady()
			}
		}
		if w.seat != nil {
			w.seat.Store(0)
		}
		if c.surplus.Load() > 0 && !c.rest(r) {
			return nil
		}
	}
}
