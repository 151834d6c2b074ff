package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Launch is Create and Start in one, and takes less time: the processes begin
// while the container is written down. created is called when that is done; an
// error of it is an error of the start. The container is nil when there was none
// before the error.
func (s *Store) Launch(name string, spec *Spec, stdio IO, created func(*Container) error) (*Container, *Run, error) {
	if os.Geteuid() == 0 { // the ids are those of the container's range
		c, err := s.Create(name, spec)
		if err == nil {
			err = created(c)
		}
		if err != nil {
			return c, nil, err
		}
		r, err := c.Start(stdio)
		return c, r, err
	}
	d, err := s.draft(name, spec)
	if err != nil {
		return nil, nil, err
	}
	if err := d.make(); err != nil {
		d.drop()
		return nil, nil, err
	}
	keepOurs()
	r := d.c.run(stdio)
	e := entry{draft: d, created: created}
	defer e.unlock()
	if r.outer, r.inner, err = launchMaps(spec.IDs); err == nil {
		r, err = r.attempt(&e, stdio)
	}
	if err != nil {
		r.abandon()
	}
	if e.st == nil {
		d.drop()
		return nil, nil, err
	}
	if err != nil {
		return d.c, nil, r.failed(e.st, err)
	}
	return d.c, r, nil
}

// launchMaps are those that Begin has chosen, if it has.
func launchMaps(ids IDs) (outer, inner idMaps, err error) {
	if h := prestarted.Load(); h != nil && h.ids == ids {
		return h.outer, h.inner, nil
	}
	return chooseMaps(ids, 0)
}

// entry is how a container that is being started gets its place in the store.
type entry struct {
	draft   *draft // nil: it has it
	created func(*Container) error
	st      *State
	lock    *os.File
}

// take gives a draft its place, and keeps everybody else from changing the
// container from then on.
func (e *entry) take(outer, inner idMaps) error {
	if e.draft == nil {
		return nil
	}
	var err error
	// Made before anybody can find it.
	if e.lock, err = lock(e.draft.tmp + "/lock"); err != nil {
		return err
	}
	st := e.draft.state()
	st.Outer, st.Inner = outer, inner
	if err := e.draft.enter(st); err != nil {
		return err
	}
	e.st = st
	if err := e.created(e.draft.c); err != nil {
		return fmt.Errorf("container %s: %w", e.draft.c.Short(), err)
	}
	return nil
}

func (e *entry) unlock() {
	if e.lock != nil {
		e.lock.Close()
		e.lock = nil
	}
}

// serverLog opens the file for what the server of the root has to say. A
// container that is removed at its end would lose it: there it is kept in
// memory, for the error.
func (r *Run) serverLog(dir string, again bool) (*os.File, error) {
	if r.c.spec.Remove {
		fd, err := unix.MemfdCreate("plyfs-server-log", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("memfd: %w", err)
		}
		if r.said, err = dupFile(fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
		return os.NewFile(uintptr(fd), "server.log"), nil
	}
	fresh := os.O_TRUNC
	if again {
		fresh = 0 // what the last start has said stays
	}
	return os.OpenFile(dir+"/server.log", os.O_CREATE|os.O_WRONLY|os.O_APPEND|fresh, 0o600)
}

func dupFile(fd int) (*os.File, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "server.log"), nil
}
