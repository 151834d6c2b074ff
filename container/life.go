package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/cgroup"
)

// running wants the container to run.
func (c *Container) running() (*State, error) {
	st, err := c.State()
	if err != nil {
		return nil, err
	}
	if st.Status != Running && st.Status != Paused {
		return st, fmt.Errorf("container %s is not running: it is %s", st.Name, st.Status)
	}
	return st, nil
}

// Kill sends a signal to process 1.
func (c *Container) Kill(sig unix.Signal) error {
	st, err := c.running()
	if err != nil {
		return err
	}
	if sig == unix.SIGKILL {
		if err := c.noRestart(); err != nil {
			return err
		}
		if st.Status == Paused { // a frozen process doesn't end
			if err := c.Pause(false); err != nil {
				return err
			}
		}
	}
	if err := st.Init.signal(sig); err != nil {
		return fmt.Errorf("container %s: %w", st.Name, err)
	}
	return nil
}

// noRestart says to the monitor that the end is wanted.
func (c *Container) noRestart() error {
	return c.update(func(st *State) error {
		st.Stopping = true
		return nil
	})
}

// Stop asks the container to end by its stop signal, kills it after a time
// (negative: its own), and returns when its end is written down.
func (c *Container) Stop(wait time.Duration) error {
	st, err := c.State()
	if err != nil {
		return err
	}
	if err := c.noRestart(); err != nil {
		return err
	}
	if st.Status == Restarting && !st.Monitor.awaitEnd(lastWrites) {
		return c.monitorStays(st)
	}
	if st.Status != Running && st.Status != Paused {
		return nil // as docker: it is as it should be
	}
	if wait < 0 {
		wait = time.Duration(c.spec.StopTimeout) * time.Second
		if wait == 0 {
			wait = DefaultStopTimeout * time.Second
		}
	}
	if st.Status == Paused {
		if err := c.Pause(false); err != nil {
			return err
		}
	}
	sig := unix.SIGTERM
	if c.spec.StopSignal != "" {
		if sig, err = ParseSignal(c.spec.StopSignal); err != nil {
			return err
		}
	}
	if err := st.Init.signal(sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("container %s: %w", st.Name, err)
	}
	if !st.Init.awaitEnd(wait) {
		return c.end(st)
	}
	if !st.Monitor.awaitEnd(lastWrites) {
		return c.monitorStays(st)
	}
	return nil
}

func (c *Container) monitorStays(st *State) error {
	return fmt.Errorf("container %s: its monitor (process %d) doesn't end", st.Name, st.Monitor.PID)
}

// Wait waits for the end of the container and gives its exit code.
func (c *Container) Wait() (int, error) {
	waiting, err := c.waiting(unix.LOCK_SH, os.O_CREATE)
	if err != nil {
		return 0, err
	}
	defer waiting.Close()
	for {
		st, err := c.State()
		if err != nil {
			return 0, err
		}
		switch st.Status {
		case Running, Paused:
			st.Init.awaitEnd(-1)
			for {
				now, err := c.stored()
				if errors.Is(err, ErrNotFound) && c.spec.Remove {
					return 0, err
				}
				if err != nil {
					return 0, fmt.Errorf("container %s was removed by force, and its exit code with it", st.Name)
				}
				if now.Status == Exited || now.Status == Restarting {
					return now.ExitCode, nil
				}
				if !st.Monitor.alive() {
					break
				}
				time.Sleep(time.Millisecond)
			}
		case Dead:
			return 0, fmt.Errorf("container %s: its monitor was killed, and nobody knows its exit code", st.Name)
		case Created:
			return 0, fmt.Errorf("container %s was never started", st.Name)
		default:
			return st.ExitCode, nil
		}
	}
}

func (c *Container) waitingFile() string { return filepath.Join(c.Dir(), "waiting") }

// waiting opens and locks the file that a removal at the end waits for: those
// who want the exit code hold it shared until they have read it.
func (c *Container) waiting(how, flags int) (*os.File, error) {
	f, err := os.OpenFile(c.waitingFile(), flags|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) && flags != 0 {
		err = fmt.Errorf("%w: %s (it was just removed)", ErrNotFound, c.Short())
	}
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lastReaders); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil || time.Now().After(end) {
			return f, nil
		}
	}
}

// lastReaders is how long a removal waits for them.
const lastReaders = 2 * time.Second

// Pause stops all processes of the container, or lets them go on.
func (c *Container) Pause(stop bool) error {
	return c.update(func(st *State) error {
		st.live()
		from, to := Running, Paused
		if !stop {
			from, to = Paused, Running
		}
		if st.Status != from {
			return fmt.Errorf("container %s is %s, not %s", st.Name, st.Status, from)
		}
		if err := st.Cgroup.Freeze(stop); err != nil {
			return fmt.Errorf("container %s: %w", st.Name, err)
		}
		st.Status = to
		return nil
	})
}

// Stats are what the container uses now.
func (c *Container) Stats() (cgroup.Stats, error) {
	st, err := c.running()
	if err != nil {
		return cgroup.Stats{}, err
	}
	return st.Cgroup.Stats(), nil
}

// Update changes limits; zero leaves one as it is. What can't be enforced is a
// warning.
func (c *Container) Update(l Limits) (warnings []string, err error) {
	err = c.update(func(st *State) error {
		st.live()
		if st.Status == Running || st.Status == Paused {
			if warnings, err = st.Cgroup.Update(l.forPayload(c.spec.Init)); err != nil {
				return err
			}
		}
		c.spec.Limits.merge(l)
		return c.saveSpec()
	})
	return warnings, err
}

// merge takes over what is set in l.
func (l *Limits) merge(from Limits) {
	set(&l.Memory, from.Memory)
	set(&l.MemorySwap, from.MemorySwap)
	set(&l.CPUs, from.CPUs)
	set(&l.CPUShares, from.CPUShares)
	set(&l.CPUSet, from.CPUSet)
	set(&l.Pids, from.Pids)
	set(&l.CPUSetMems, from.CPUSetMems)
	set(&l.IOWeight, from.IOWeight)
	for _, r := range from.IORates {
		same := func(old cgroup.Rate) bool { return old.Device == r.Device && old.What == r.What }
		l.IORates = append(slices.DeleteFunc(l.IORates, same), r)
	}
	for size, n := range from.HugePages {
		if l.HugePages == nil {
			l.HugePages = map[string]uint64{}
		}
		l.HugePages[size] = n
	}
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}
