package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/cgroup"
	"github.com/plyfs/plyfs/fs/fail"
)

// IO are the payload's standard descriptors; nil is /dev/null. With a terminal
// they aren't used: Run.Terminal is the other end of it.
type IO struct {
	Stdin, Stdout, Stderr *os.File
	// Logged says that the output ends in the container's log.
	Logged bool
	// Warn is told what was asked for and isn't in force, before the payload
	// starts as far as it is known then; nil: Run.Warnings has it.
	Warn func(text string)
	// Meanwhile, if not nil, is called once while the processes start, before
	// the payload does: for what takes a moment, too.
	Meanwhile func()
}

// StartError is an error of Start with the exit code that run has for it.
type StartError struct {
	Code int // 125: our fault, 126: the command can't be executed, 127: it isn't there
	Text string
}

func (e *StartError) Error() string { return e.Text }

// Run is a started container in the process that monitors it.
type Run struct {
	// Terminal is the master of the payload's terminal, nil without one.
	Terminal *os.File
	// Warnings say what was asked for and isn't in force.
	Warnings []string

	c        *Container
	init     process
	stage    process
	served   bool
	again    bool // it has ended, and is to be started anew
	slow     bool // init has to be a program
	outer    idMaps
	inner    idMaps
	counters *os.File // where the server counts: it is found in our descriptors
	said     *os.File // what the server of the root says, where no file keeps it
	tell     func(string)
	group    *cgroup.Group
	net      *netHelper
	stageIn  peer
}

// Start starts the container: this process becomes its monitor and must call
// Wait. It returns when the payload has been executed.
func (c *Container) Start(stdio IO) (*Run, error) {
	l, err := c.lock()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	st, err := c.State()
	if err != nil {
		return nil, err
	}
	if st.active() && st.Monitor.PID != os.Getpid() {
		return nil, fmt.Errorf("container %s is %s already", st.Name, st.Status)
	}
	keepOurs()
	r := c.run(stdio)
	// Kept also when it fails: what was written by then belongs to these ids.
	if st.Outer, st.Inner, err = chooseMaps(c.spec.IDs, st.Slot); err == nil {
		r.outer, r.inner = st.Outer, st.Inner
		r, err = r.attempt(&entry{st: st}, stdio)
	}
	if err != nil {
		r.abandon()
		return nil, r.failed(st, err)
	}
	return r, nil
}

func (c *Container) run(stdio IO) *Run {
	return &Run{c: c, served: c.spec.Root.FS != "", tell: stdio.Warn}
}

// failed writes down why it could not be started.
func (r *Run) failed(st *State, err error) error {
	f := asFailure(err)
	st.Status, st.ExitCode, st.Error, st.Finished = Exited, f.Code, f.Text, time.Now().Round(0)
	st.Init, st.Monitor, st.Stage, st.Cgroup = process{}, process{}, process{}, nil
	_ = writeFile(filepath.Join(r.c.Dir(), "state.json"), st)
	return &StartError{f.Code, f.Text}
}

// errAgain says that init has to be a program.
var errAgain = errors.New("the container's start is made anew")

// attempt starts it, at most twice: once more with a program for init, when the
// quick one has met something that it doesn't know. The result is what was started
// last.
func (r *Run) attempt(e *entry, stdio IO) (*Run, error) {
	err := r.start(e, stdio)
	if !errors.Is(err, errAgain) {
		return r, err
	}
	r.abandon()
	stdio.Meanwhile, stdio.Warn = nil, nil // that is done
	next := r.c.run(stdio)
	next.slow, next.outer, next.inner = true, r.outer, r.inner
	e.draft = nil // it has its place
	return next, next.start(e, stdio)
}

func (r *Run) start(e *entry, stdio IO) error {
	c := r.c
	o := &order{Spec: c.spec, ID: c.ID, Dir: c.Dir(), HostRoot: os.Geteuid() == 0}
	o.Spec.Files = c.spec.withFiles()
	o.Guarded = o.HostRoot
	o.Outer, o.Inner = r.outer, r.inner
	o.Quick = !r.slow && o.isQuick()
	mapping, err := r.startStage(o)
	if err != nil {
		return err
	}
	defer func() { _ = mapping.wait() }()
	dir := o.Dir
	if e.draft != nil {
		dir = e.draft.tmp
	}
	initSide, err := r.order(o, dir, stdio)
	if err != nil {
		return err
	}
	defer initSide.close()
	// The rest while its ids are mapped.
	if stdio.Meanwhile != nil {
		stdio.Meanwhile()
	}
	f := compileFilter(&c.spec.Process, o.pretends())
	if err := mapping.wait(); err != nil {
		return err
	}
	if f.err != nil {
		return f.err
	}
	if err := r.stageIn.send(message{What: mapped, Filter: f.program}); err != nil {
		return err
	}
	// The rest while init is made.
	if err := e.take(r.outer, r.inner); err != nil {
		r.disown()
		return err
	}
	if err := r.stageIn.send(message{What: entered}); err != nil {
		return err
	}
	st := e.st
	fail.Point("start.stage")
	m, _, err := r.stageIn.receive()
	if m.Failure != nil {
		return m.Failure
	}
	if err != nil {
		return fmt.Errorf("the stage ended before the container was made%s", r.seeLog())
	}
	if m.What == again {
		return errAgain
	}
	r.init = identify(m.Pid)
	r.group = cgroup.Plan("plyfs-"+c.ID, c.spec.Limits.cgroup())
	if err := r.record(st); err != nil {
		return err
	}
	fail.Point("start.recorded")
	keepers := []int{os.Getpid()}
	if r.served { // else the stage has ended, or does in a moment
		keepers = append(keepers, r.stage.PID)
	}
	warnings, err := r.group.Create(c.spec.Limits.cgroup(), r.init.PID, keepers...)
	if err != nil {
		return err
	}
	r.warn(warnings...)
	fail.Point("start.grouped")
	var warning string
	if r.net, warning, err = connect(&c.spec.Net, c.Dir(), r.init.PID, !o.Inner.none()); err != nil {
		return err
	}
	r.warn(warning)
	goOn := func() error {
		err := initSide.send(message{Filter: f.program})
		if errors.Is(err, unix.EPIPE) {
			return nil // it has said why
		}
		fail.Point("start.told")
		return err
	}
	if o.Quick {
		goOn = nil // it asks, and is answered
	} else if !o.Guarded {
		if err := goOn(); err != nil {
			return err
		}
	}
	if err := r.awaitPayload(initSide, goOn, o.answer); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	fail.Point("start.payload")
	st.Status, st.Boot, st.Started, st.Finished = Running, bootID(), time.Now().Round(0), time.Time{}
	st.Init, st.Monitor, st.Stage = r.init, identify(os.Getpid()), r.stage
	st.ExitCode, st.Error, st.OOMKilled, st.Stopping, st.Warnings = 0, "", false, false, r.Warnings
	st.Cgroup, st.Logged = r.group, stdio.Logged
	st.NetBy, st.NetHelper = r.net.describe()
	err = writeFile(filepath.Join(c.Dir(), "state.json"), st)
	fail.Point("start.stored")
	return err
}

// record writes down what a removal must tidy up should we be killed before
// the start is complete.
func (r *Run) record(st *State) error {
	if r.group.Empty() {
		return nil // processes end by themselves
	}
	st.Boot, st.Cgroup = bootID(), r.group
	return writeFile(filepath.Join(r.c.Dir(), "state.json"), st)
}

func (r *Run) warn(texts ...string) {
	for _, t := range texts {
		if t == "" {
			continue
		}
		r.Warnings = append(r.Warnings, t)
		if r.tell != nil {
			r.tell(t)
		}
	}
}

// awaitPayload listens to init until it has become the payload, and to the
// stage, which speaks only when it fails (it has done when it serves): then init
// may wait for its root for ever.
func (r *Run) awaitPayload(initSide peer, goOn func() error, answer func(init peer) error) error {
	defer r.stageIn.close()
	isReady, retry := false, false
	var f, first *failure // first is the reason for what init saw
	stageSpeaks := true
	hear := func(timeout int) (init bool, err error) {
		watch := []unix.PollFd{{Fd: int32(initSide.f.Fd()), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}}
		if stageSpeaks {
			watch[1].Fd = int32(r.stageIn.f.Fd())
		}
		if _, err := unix.Poll(watch, timeout); err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if watch[1].Revents != 0 {
			m, _, err := r.stageIn.receive()
			if err == nil && m.Failure != nil {
				_ = r.init.signal(unix.SIGKILL)
				first = m.Failure
			}
			r.stageIn.close()
			stageSpeaks = false
		}
		return watch[0].Revents != 0, nil
	}
	for {
		init, err := hear(-1)
		if err != nil {
			return err
		}
		if !init {
			continue
		}
		m, fds, err := initSide.receive()
		switch {
		case errors.Is(err, io.EOF) && isReady && f == nil && !retry:
			return nil
		case err != nil && f == nil:
			f = &failure{125, "process 1 of the container ended before the command was started" + r.seeLog()}
			fallthrough
		case err != nil:
			if stageSpeaks {
				_, _ = hear(1000)
			}
			switch {
			case first != nil:
				return first
			case retry:
				return errAgain
			}
			return f
		case m.What == again:
			retry = true
		case m.What == who:
			if err := answer(initSide); errors.Is(err, io.EOF) {
				retry = true // the reason for the end may be the stage's
			} else if err != nil {
				return err
			}
		case m.Failure != nil:
			f = m.Failure
		case m.What == mounted:
			r.guardDevices()
			if err := goOn(); err != nil {
				return err
			}
		case m.What == ready:
			isReady = true
		case m.What == "terminal" && len(fds) == 1:
			r.Terminal = os.NewFile(uintptr(fds[0]), "terminal")
		case m.Warning != "":
			r.warn(m.Warning)
		}
	}
}

// disown waits for init when it is no use any more but may have been made.
func (r *Run) disown() {
	if m, _, err := r.stageIn.receive(); err == nil && m.Failure == nil {
		r.init = identify(m.Pid)
	}
}

// seeLog ends an error that the server of the root may know more of.
func (r *Run) seeLog() string {
	if r.said == nil {
		return ": see " + filepath.Join(r.c.Dir(), "server.log")
	}
	text := make([]byte, 4096)
	n, _ := r.said.ReadAt(text, 0)
	if last := strings.TrimSpace(string(text[:n])); last != "" {
		return ": " + last[strings.LastIndexByte(last, '\n')+1:]
	}
	return ""
}

// abandon ends whatever was started.
func (r *Run) abandon() {
	_ = r.init.signal(unix.SIGKILL)
	if r.init.PID == 0 {
		_ = r.stage.signal(unix.SIGKILL)
	}
	r.stageIn.close()
	r.reap()
	r.net.end()
	if r.group != nil {
		_ = r.group.Remove()
	}
	if r.Terminal != nil {
		r.Terminal.Close()
	}
}
