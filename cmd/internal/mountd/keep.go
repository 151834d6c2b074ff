package mountd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/kept"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/snapshot/servers"
)

// firstEnv is set for the first server of a keeper.
const firstEnv = "_PLYFS_SERVE_FD"

// keepTree has a new union keep what it knows in memory that outlives us, if there
// is a keeper. It is called before the first request.
func (s *server) keepTree(m *mounted, c *fusefs.Config) (held map[string]int, err error) {
	if s.link == nil {
		return nil, nil
	}
	if held, err = m.tree.Keep(); err == nil {
		c.Flight, err = fusefs.NewFlight()
	}
	return held, err
}

// keep gives the keeper all that another server needs for a mount. A keeper that
// is gone is no reason not to serve.
func (s *server) keep(m *mounted, o *layer.Options, held map[string]int, fuse int, config *fusefs.Config) {
	dev := m.device()
	state := kept.State{Options: []byte(o.String()), Dir: []byte(m.dir), Dev: dev, Session: m.server.Session()}
	var err error
	if state.Slot, err = json.Marshal(m.slot); err == nil {
		var f *os.File
		if f, err = state.Write(); err == nil {
			defer f.Close()
			held["state"], held["fuse"], held["flight"] = int(f.Fd()), fuse, config.Flight.FD()
			if m.meter != nil {
				held["meter"] = m.meter.FD()
			}
		}
	}
	m.prefix = fmt.Sprintf("%d/", s.last.Add(1))
	for name, fd := range held {
		if err == nil {
			err = s.link.Keep(m.prefix+name, fd)
		}
	}
	if err == nil {
		err = s.link.Ready(m.prefix, dev, m.dir)
	}
	if err != nil {
		s.log.Printf("mount on %s has no keeper: %v", m.dir, err)
	}
}

// restored is a mount that the server before has left.
type restored struct {
	prefix string
	held   map[string]int
	state  *kept.State
	o      *layer.Options
	err    error
}

// takeOver goes on with the mounts of the server before, and returns when they
// are served: who asks what there is gets all. The result is the socket to listen on.
func (s *server) takeOver() (listener int, err error) {
	held, alive, err := s.link.Take()
	if err != nil {
		return -1, err
	}
	listener, ok := held["listener"]
	table, ok2 := held["table"]
	delete(held, "listener")
	delete(held, "table")
	all := sortOut(held)
	if !ok || !ok2 {
		err = errors.New("the keeper has no socket and no table")
	}
	for _, r := range all {
		r.state, r.o, r.err = kept.Read(r.held)
		// Nobody else could serve what is lost; what is served can stay so.
		if alive && err == nil {
			if err = r.err; err == nil && !r.state.Session.Resends() {
				err = errors.New("this kernel (before 6.9) doesn't send again what the old server has in hand")
			}
		}
	}
	if err != nil {
		s.link.Unable(err)
		return -1, err
	}
	weight, err := s.link.Able()
	if err != nil {
		return -1, err
	}
	fusefs.TuneProcess()
	if s.table, err = servers.OpenTable(table); err != nil {
		return -1, err
	}
	var wg sync.WaitGroup
	for _, r := range all {
		var n int64
		if _, err := fmt.Sscanf(r.prefix, "%d/", &n); err == nil {
			s.last.Store(max(s.last.Load(), n))
		}
		wg.Go(func() {
			if err := s.goOn(r, weight); err != nil {
				s.log.Printf("cannot go on with a mount: %v", err)
				s.link.Drop(r.prefix) // with the last descriptor its clients get errors
			}
		})
	}
	wg.Wait()
	s.table.Sweep()
	return listener, nil
}

// sortOut sorts the descriptors of mounts.
func sortOut(held map[string]int) []*restored {
	all := map[string]*restored{}
	for name, fd := range held {
		number, rest, ok := strings.Cut(name, "/")
		if !ok {
			unix.Close(fd)
			continue
		}
		r := all[number]
		if r == nil {
			r = &restored{prefix: number + "/", held: map[string]int{}}
			all[number] = r
		}
		r.held[rest] = fd
	}
	return slices.Collect(maps.Values(all))
}

// meet gives a mount a meter: the one that the server before has counted with, if
// there was one, or else its own.
func (s *server) meet(m *mounted, before int) {
	var err error
	if before >= 0 {
		if m.meter, err = meter.Serve(os.NewFile(uintptr(before), "meter")); err == nil {
			return
		}
	}
	if m.meter, err = meter.New(m.device()); err != nil {
		s.log.Printf("nobody can look at the mount on %s: %v", m.dir, err)
	}
}

// goOn serves a mount that the server before has left.
func (s *server) goOn(r *restored, weight uint64) (err error) {
	defer func() {
		for _, fd := range r.held { // after Restore there is none
			unix.Close(fd)
		}
	}()
	if r.err != nil {
		return r.err
	}
	m := &mounted{dir: string(r.state.Dir), prefix: r.prefix, done: make(chan struct{})}
	var major, minor uint32
	if _, err := fmt.Sscanf(r.state.Dev, "%d:%d", &major, &minor); err == nil {
		m.dev = unix.Mkdev(major, minor)
	}
	take := func(name string) int {
		fd, ok := r.held[name]
		delete(r.held, name)
		if !ok {
			return -1
		}
		return fd
	}
	config := fusefs.Config{Options: r.o, UserNS: s.userNS, Log: s.log, Session: r.state.Session}
	if config.Flight, err = fusefs.OpenFlight(take("flight"), weight); err != nil {
		return fmt.Errorf("%s: %w", m.dir, err)
	}
	fuse := take("fuse")
	s.meet(m, take("meter"))
	config.Meter = m.meter
	if m.tree, err = s.bases.Restore(r.o, r.held); err != nil {
		unix.Close(fuse)
		_ = m.meter.Close()
		return fmt.Errorf("%s: %w", m.dir, err)
	}
	var slot servers.SlotRef
	_ = json.Unmarshal(r.state.Slot, &slot)
	s.countIn(m, s.table.TakeAgain(slot), slot)
	m.server = fusefs.NewServer(fuse, m.tree, config)
	ended := make(chan error, 1)
	go func() { ended <- m.server.Serve() }()
	s.know(m, ended)
	return nil
}
