package fusefs

import (
	"sync"
	"sync/atomic"

	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/node"
)

// maxSlow bounds the slow requests that are served at the same time.
const maxSlow = 64

// slowOut is room for every reply that a slow request has.
const slowOut = 512

// always is for requests that may take long whatever they are about.
func always(*worker) bool { return true }

// notUpper is for requests that copy a lower file up first. A 10 GB file takes
// its time, and a reader must not be the one that waits.
func notUpper(w *worker) bool { return !w.s.tree.Upper(w.node()) }

// renameSlow: a rename copies up what is in a lower layer.
func renameSlow(w *worker) bool { return !w.s.tree.QuickRename(node.ID(w.header().NodeId), w.name) }

// fsyncSlow: fsync waits for the disk, unless it is not done at all.
func fsyncSlow(w *worker) bool { return !w.set.session.NoFsync }

// slowPool runs slow requests, each on its own goroutine. What is beyond the
// bound waits in a queue of copies; the kernel bounds that by its limit of
// dirty pages, since only WRITEs are large.
type slowPool struct {
	mu      sync.Mutex
	queue   []*worker // protected by mu
	running int       // protected by mu
	total   atomic.Uint64
	wg      sync.WaitGroup
}

// Requests are copied into pooled buffers of a few sizes, so that a hundred small
// ones don't hold a hundred MiB.
var slowSizes = [...]int{4 << 10, 128 << 10, maxData + 64<<10}

var slowBuffers [len(slowSizes)]sync.Pool

// slowBuffer is a pooled buffer for a request of n bytes, nil if there is none.
func slowBuffer(n int) *[]byte {
	for i, size := range slowSizes {
		if n > size {
			continue
		}
		if b, _ := slowBuffers[i].Get().(*[]byte); b != nil {
			return b
		}
		b := make([]byte, size)
		return &b
	}
	b := make([]byte, n)
	return &b
}

func freeSlowBuffer(b *[]byte) {
	for i, size := range slowSizes {
		if len(*b) == size {
			slowBuffers[i].Put(b)
		}
	}
}

// submit takes over the request of w, whose buffers are free again when it
// returns.
func (p *slowPool) submit(w *worker) {
	p.total.Add(1)
	b := slowBuffer(len(w.in))
	t := &worker{s: w.s, out: make([]byte, slowOut), place: w.s.meter.Place(meter.Shared), own: b}
	t.start, t.watched, t.traced = w.start, w.watched, w.traced
	n := copy(*b, w.in)
	t.decodeCopy((*b)[:n])
	p.mu.Lock()
	if p.running >= maxSlow {
		p.queue = append(p.queue, t)
		p.mu.Unlock()
		return
	}
	p.running++
	p.mu.Unlock()
	p.wg.Add(1)
	go p.work(t)
}

// decodeCopy takes apart a copy of a request that decode has found right; its
// extension has been cut off, so the header is made to say so.
func (w *worker) decodeCopy(req []byte) {
	w.in = req
	h := w.header()
	h.Length, h.TotalExtlen = uint32(len(req)), 0
	if e := w.decode(req); e != 0 {
		panic("fusefs: a request changed while it was copied") // recovered: EIO
	}
}

// work serves t and then what has queued up.
func (p *slowPool) work(t *worker) {
	defer p.wg.Done()
	seat := t.s.cfg.Flight.seat()
	defer t.s.cfg.Flight.leave(seat)
	for t != nil {
		t.seat = seat
		if n := t.runSlow(); n > 0 {
			t.send(n)
		}
		if seat != nil {
			seat.Store(0)
		}
		freeSlowBuffer(t.own)
		t = p.next()
	}
}

// next is the first of the queue; nil = none, and the caller ends.
func (p *slowPool) next() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.running--
		p.queue = nil
		return nil
	}
	t := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return t
}

// runSlow is run with a net under it.
func (w *worker) runSlow() (n int) {
	defer w.recovered(&n)
	return w.run()
}

// wait returns when no slow request is left. Nothing may be submitted any more.
func (p *slowPool) wait() { p.wg.Wait() }
