package mountd

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/keeper"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/fs/union"
	"github.com/plyfs/plyfs/snapshot/servers"
)

// listenFD is where a server process finds its socket.
const listenFD = 3

// server is a server process.
type server struct {
	log    *log.Logger
	userNS bool
	table  *servers.Table
	bases  union.Bases  // what the mounts know of the same lowers
	link   *keeper.Link // nil when the process has no keeper
	last   atomic.Int64 // mounts are numbered, for the keeper

	mu      sync.Mutex
	mounts  map[string]*mounted // by directory
	clients int                 // connections
	idle    chan struct{}       // told when there is neither mount nor connection
}

// Serve is the life of a server process: it serves what it is asked to mount,
// and returns when it has nothing to serve and nobody to ask. With a keeper it
// first goes on with what the server before has left.
func Serve(logger *log.Logger) error {
	s := &server{
		log:    logger,
		userNS: sys.InUserNamespace(),
		mounts: map[string]*mounted{},
		idle:   make(chan struct{}, 1),
		link:   keeper.Connected(),
	}
	s.bases.Log, s.bases.Background = logger.Printf, true // nobody waits for an index file
	// The terminal's ^C and systemd's stop are for the daemon: containers go
	// on. Who wants the mounts gone unmounts them.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	listener := listenFD
	var err error
	switch {
	case s.link != nil && os.Getenv(firstEnv) == "":
		listener, err = s.takeOver()
	default:
		os.Unsetenv(firstEnv)
		err = s.begin()
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(listener), "listener")
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("no socket on descriptor %d: this command is for the daemon itself: %w", listener, err)
	}
	_ = f.Close()
	go s.accept(l)
	// A daemon that dies before it has connected leaves a server that nobody
	// knows of.
	time.AfterFunc(time.Minute, s.checkIdle)
	<-s.idle
	// The file goes first: who finds it may connect.
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true)
	}
	err = l.Close()
	s.link.Bye()
	return err
}

// begin is what the first server does.
func (s *server) begin() (err error) {
	fusefs.TuneProcess()
	if s.table, err = servers.NewTable(); err == nil && s.link != nil {
		err = s.link.Keep("table", s.table.FD())
	}
	return err
}

func (s *server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Printf("accept: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		s.clients++
		s.mu.Unlock()
		go s.converse(c)
	}
}

// checkIdle ends the process when it has nothing left to do.
func (s *server) checkIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == 0 && len(s.mounts) == 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

func (s *server) converse(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		s.clients--
		s.mu.Unlock()
		s.checkIdle()
	}()
	enc, dec := json.NewEncoder(c), json.NewDecoder(c)
	for {
		var q servers.Request
		if dec.Decode(&q) != nil {
			return
		}
		r, err := s.answer(&q)
		if err != nil {
			r.Err = err.Error()
			_ = errors.As(err, &r.Errno)
		}
		if q.Op == servers.OpTable {
			err = s.table.Pass(c, r)
		} else {
			err = enc.Encode(r)
		}
		if err != nil {
			return
		}
	}
}

func (s *server) answer(q *servers.Request) (r servers.Response, err error) {
	switch q.Op {
	case servers.OpHello:
		r.Version, r.PID, r.Kept = cli.VersionString(), os.Getpid(), s.link != nil
		return r, nil
	case servers.OpMount:
		m, err := s.mount(q.Dir, q.Options)
		if err == nil {
			r.Slots = []servers.SlotRef{m.slot}
		}
		return r, err
	case servers.OpList:
		r.Dirs, r.Slots = s.list()
		return r, nil
	case servers.OpTable:
		return r, nil
	case servers.OpCounts:
		return s.counts(), nil
	}
	m := s.find(q.Dir)
	switch q.Op {
	case servers.OpGone:
		r.OK = m == nil || m.wait(q.Wait)
		return r, nil
	case servers.OpServes:
		r.OK = m != nil && m.onTop()
		return r, nil
	case servers.OpUsage:
		if m != nil {
			u, ok := m.usage()
			r.Bytes, r.Inodes, r.OK = u.Bytes, u.Inodes, ok
		}
		return r, nil
	case servers.OpFiles:
		if m != nil {
			r.Files, r.OK = m.files()
		}
		return r, nil
	}
	return r, fmt.Errorf("unknown request %q: the daemon is newer than this server", q.Op)
}

func (s *server) find(dir string) *mounted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts[dir]
}

func (s *server) list() (dirs []string, slots []servers.SlotRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir, m := range s.mounts {
		if m.onTop() {
			dirs, slots = append(dirs, dir), append(slots, m.slot)
		}
	}
	return dirs, slots
}
