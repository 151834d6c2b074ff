package container

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
)

// StartDetached starts the container in the background, with a monitor of its
// own: a process of ours in a session of its own that holds the output, the exit
// status, and starts the container again where that is wanted.
func (c *Container) StartDetached() (warnings []string, err error) {
	ours, err := c.startAside("monitor", nil, nil)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	for {
		m, _, err := ours.receive()
		switch {
		case err != nil:
			return warnings, errors.New("the monitor ended before the container was started")
		case m.Failure != nil:
			return warnings, &StartError{m.Failure.Code, m.Failure.Text}
		case m.Warning != "":
			warnings = append(warnings, m.Warning)
		case m.What == ready:
			return warnings, nil
		}
	}
}

// keepOurs has no descriptor pass to a process that we start but those that it
// is given: neither what our caller left open, nor what another goroutine has
// just opened.
func keepOurs() { _ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }

// runMonitor is the monitor.
func runMonitor(Opener) error {
	caller := inherited(fdPeer)
	// Boot has done that for the sake of init; newuidmap wants to see whose
	// process the stage is.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	if len(os.Args) < 3 {
		return errors.New("this role is for plyfs itself")
	}
	watched := len(os.Args) == 4 && os.Args[3] == attached
	c, err := (&Store{root: os.Args[1]}).open(os.Args[2])
	if err != nil {
		return caller.send(message{Failure: asFailure(err)})
	}
	fail.Point("monitor.begun")
	CatchSignals() // who wants to end it ends the container
	told := false
	tell := func(m message) {
		if !told {
			_ = caller.send(m)
		}
	}
	for try := 0; ; try++ {
		again, err := c.once(tell, func(con *console) error {
			if told {
				return nil
			}
			if watched && con != nil {
				if err := con.add(caller, true); err != nil {
					return err
				}
			}
			tell(message{What: ready})
			told = true
			if !watched {
				caller.close()
			}
			return nil
		})
		if err != nil {
			tell(message{Failure: asFailure(err)})
			return nil
		}
		if !again || !c.rest(try) {
			return nil
		}
	}
}

// once runs the container one time; again says that it is to be started anew.
// started is called with its terminal, if it has one, before that is read.
func (c *Container) once(tell func(message), started func(*console) error) (again bool, err error) {
	log, err := openLog(c.Dir())
	if err != nil {
		return false, err
	}
	defer log.close()
	var stdio IO
	if !c.spec.Process.Terminal {
		if stdio.Stdout, err = log.pipe("stdout"); err == nil {
			stdio.Stderr, err = log.pipe("stderr")
		}
		if err != nil {
			return false, err
		}
	}
	stdio.Logged = true
	r, err := c.Start(stdio)
	log.started()
	if err != nil {
		return false, err
	}
	for _, w := range r.Warnings {
		tell(message{Warning: w})
	}
	var con *console
	if r.Terminal != nil {
		con = newConsole(r.Terminal, r.Signal)
		if err := con.open(c.Dir()); err != nil {
			tell(message{Warning: err.Error()})
		}
	}
	if err := started(con); err != nil {
		_ = r.Signal(unix.SIGKILL) // who wanted it has gone
	}
	if con != nil {
		log.follow("stdout", con)
	}
	code, err := r.Wait()
	if con != nil {
		lastOf(log.done())
		con.end(code, err)
	}
	return r.again && err == nil, nil //nolint:nilerr // an error is in the state
}

// again says whether a container that has ended so is to be started anew.
func (st *State) again(code int, trouble error, want Restart) bool {
	return want.OnFailure && code != 0 && trouble == nil && !st.Stopping && (want.Max == 0 || st.Restarts < want.Max)
}

// The pause before a restart doubles up to a minute.
const (
	firstPause = 100 * time.Millisecond
	longPause  = time.Minute
)

// rest waits before the next start and says whether it is still wanted.
func (c *Container) rest(try int) bool {
	pause := longPause
	if try < 10 {
		pause = min(firstPause<<try, longPause)
	}
	for end := time.Now().Add(pause); time.Now().Before(end); time.Sleep(min(firstPause, time.Until(end)+1)) {
		st, err := c.stored()
		if err != nil {
			return false
		}
		if st.Stopping {
			_ = c.update(func(st *State) error {
				st.Status, st.Monitor = Exited, process{}
				return nil
			})
			return false
		}
	}
	return true
}
