package fusefs

import (
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
)

// Server serves a tree to the kernel, over the descriptor of one mount.
type Server struct {
	tree  Tree
	dev   device
	cfg   Config // immutable
	log   *log.Logger
	trace *tracer // nil = off

	// set is what was agreed on at INIT; nil until then.
	set  atomic.Pointer[settings]
	slow slowPool
	crew crew

	ready     chan struct{} // closed when INIT has been answered
	readyOnce sync.Once
	done      chan struct{} // closed when Serve returns
	err       error         // why the session can't be served; immutable

	meter   *meter.Meter
	readers atomic.Int32 // that have a place in it
}

// NewServer makes a server for a mounted /dev/fuse descriptor, which it owns
// from then on: Serve closes it.
func NewServer(fd int, t Tree, c Config) *Server {
	// Readers wait in read(2); EAGAIN would make them spin.
	_ = unix.SetNonblock(fd, false) // fails for what is no descriptor: the first read says so
	if c.Flight == nil {
		return newServer(fdDevice(fd), t, c)
	}
	dev, err := ownQueue(fd)
	s := newServer(dev, t, c)
	if err != nil {
		s.log.Printf("fuse: what is in flight when this process dies will hang until the mount is aborted: %v", err)
	}
	return s
}

func newServer(dev device, t Tree, c Config) *Server {
	s := &Server{
		tree:  t,
		dev:   dev,
		cfg:   c,
		log:   c.Log,
		ready: make(chan struct{}),
		done:  make(chan struct{}),
	}
	if s.log == nil {
		s.log = log.Default()
	}
	if c.Trace != nil {
		s.trace = &tracer{w: c.Trace}
	}
	s.meet(c.Meter)
	s.crew.init(s)
	if c.Session != nil {
		if s.err = s.setUp(c.Session); s.err == nil {
			s.isReady()
		}
	}
	return s
}

// noOptions is what a Config without Options means.
var noOptions layer.Options

func (s *Server) options() *layer.Options {
	if s.cfg.Options == nil {
		return &noOptions
	}
	return s.cfg.Options
}

func (s *Server) isReady() { s.readyOnce.Do(func() { close(s.ready) }) }

// Serve answers requests until the mount is gone, waits for what is still
// being done, and closes the descriptor. It may be called once.
func (s *Server) Serve() error {
	defer close(s.done)
	if s.err != nil {
		return errors.Join(s.err, s.dev.close())
	}
	if s.cfg.Session != nil {
		s.resendAll()
	}
	err := s.crew.serve()
	s.slow.wait()
	if err != nil {
		_ = s.dev.close()
		return err
	}
	if err := s.dev.close(); err != nil {
		return fmt.Errorf("close of /dev/fuse: %w", err)
	}
	return nil
}

// WaitReady returns when the mount answers: nil when INIT has been agreed on,
// an error when Serve ended before that.
func (s *Server) WaitReady() error {
	select {
	case <-s.ready:
		return nil
	case <-s.done:
	}
	select {
	case <-s.ready: // both: it was ready, and is over by now
		return nil
	default:
		return errors.New("the mount ended before the kernel and the server had agreed on a protocol: see the log")
	}
}

// Session is what was agreed on with the kernel; nil before WaitReady. It must
// not be changed.
func (s *Server) Session() *Session {
	if set := s.set.Load(); set != nil {
		return set.session
	}
	return nil
}

// newWorker makes a reader's worker.
func (s *Server) newWorker(b *buffers) *worker {
	return &worker{s: s, place: s.place(), out: b.out, seat: s.cfg.Flight.seat()}
}
