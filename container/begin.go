package container

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// head is a stage that waits for its order, and what maps its ids.
type head struct {
	ids     IDs
	outer   idMaps
	inner   idMaps
	stage   process
	peer    peer
	mapping mapping
	slack   uintptr // see relax
}

// prestarted is a head that Begin has started for the next Start.
var prestarted atomic.Pointer[head]

// Begin starts what the next start of a container with these ids, in the store
// below root, begins with, as far as it can be known, so that it is ready when
// the rest is. It ends with this process when nothing is started, and is ended
// when the ids turn out to be others. What fails, fails again at the start, and is
// told then.
func Begin(root string, ids IDs) {
	if os.Geteuid() == 0 || prestarted.Load() != nil {
		return // the ids are those of the container
	}
	keepOurs()
	outer, inner, err := chooseMaps(ids, 0)
	if err != nil {
		return
	}
	h, err := newHead(outer, inner, root)
	h.ids = ids
	if err != nil {
		h.end()
		return
	}
	prestarted.Store(h)
}

// end ends a stage that nobody needs.
func (h *head) end() {
	if h.stage.PID != 0 {
		_ = h.stage.signal(unix.SIGKILL)
		wait(h.stage.PID)
	}
	_ = h.mapping.wait()
	h.peer.close()
}

// startStage starts the stage, if that isn't done yet, and waits for nothing.
func (r *Run) startStage(o *order) (mapping, error) {
	h := prestarted.Swap(nil)
	if h != nil && !h.outer.equal(o.Outer) {
		h.end()
		h = nil
	}
	var err error
	if h == nil {
		h, err = newHead(o.Outer, o.Inner, o.Dir)
	}
	r.stage, r.stageIn, o.Slack = h.stage, h.peer, h.slack
	return h.mapping, err
}

// newHead starts a stage and what maps its ids. All else that it needs comes with
// its order. The result is what was started, also with an error.
func newHead(outer, inner idMaps, dir string) (*head, error) {
	h := &head{outer: outer, inner: inner}
	ids := outer
	if ids.none() {
		ids = inner
	}
	self, err := safeSelf(ids)
	if err != nil {
		return h, err
	}
	ours, theirs, err := newPeers()
	if err != nil {
		return h, err
	}
	defer theirs.close()
	h.peer = ours
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return h, err
	}
	defer null.Close()
	n := null.Fd()
	// The terminal's signals are for us: we pass them on.
	attr := &syscall.SysProcAttr{Setsid: true}
	late := false
	if !outer.none() {
		attr.Cloneflags = unix.CLONE_NEWUSER
		if outer.single() {
			attr.UidMappings, attr.GidMappings = sysMap(outer.UID), sysMap(outer.GID)
		} else {
			// Its ids come later, by newuidmap, and without one an exec
			// would lose the capabilities over the new namespace.
			late, attr.AmbientCaps = true, stageCaps
		}
	}
	// Its places for what comes with the order are taken, so that nothing else
	// gets there.
	files := []uintptr{n, n, n, theirs.f.Fd(), n, n, n, n}
	// The child executes the program by this number. While it puts its files in
	// place it uses numbers above the highest of them.
	above := int(slices.Max(files)) + 2*len(files)
	program, err := unix.FcntlInt(self.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return h, err
	}
	defer unix.Close(program)
	h.slack = relax(stageSlack)
	defer unrelax(h.slack)
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", program), []string{"plyfs-root", dir}, &syscall.ProcAttr{
		Env: stageEnv(), Files: files, Sys: attr,
	})
	if err != nil {
		return h, namespaceError(err)
	}
	h.stage = identify(pid)
	if late {
		h.mapping, err = outer.start(pid)
	}
	return h, err
}

// The timer slack, in nanoseconds, of the stage's and of init's threads. A thread
// of the Go runtime looks every 20 us whether anything is stuck, for the first
// milliseconds of a process: its sleeps cost more than what it finds. Init has
// one goroutine, and nothing gets stuck; in the stage there may be a second one
// that waits for the processor of the first.
const (
	stageSlack = 2_000_000
	initSlack  = 100_000_000
)

// relax gives this thread, and the processes that it starts, a timer slack. The
// result is what it had, for unrelax, and for the payload.
func relax(slack uintptr) uintptr {
	runtime.LockOSThread()
	old, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	if e != 0 {
		return 0
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, max(slack, old), 0, 0, 0)
	return old
}

func unrelax(old uintptr) {
	if old > 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, old, 0, 0, 0)
	}
	runtime.UnlockOSThread()
}

// What the monitor says to the stage after the order: its ids are mapped, and
// the container has its place, so that its layers can be opened.
const (
	mapped  = "mapped"
	entered = "entered"
)

// ordered are the places of the descriptors that come with the order.
var ordered = []int{fdOrder, fdInit, fdLog, fdCount, 0, 1, 2}

// order tells the stage what to do when its ids are mapped. dir is where the
// container's directory is now. The result is our end of the socket to init.
func (r *Run) order(o *order, dir string, stdio IO) (initSide peer, err error) {
	text, err := o.file()
	if err != nil {
		return initSide, err
	}
	defer text.Close()
	initSide, initEnd, err := newPeers()
	if err != nil {
		return initSide, err
	}
	defer initEnd.close()
	log, err := r.serverLog(dir, o.Job != nil)
	if err != nil {
		return initSide, err
	}
	defer log.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return initSide, err
	}
	defer null.Close()
	if r.counters, err = newCounters(r.c.ID); err != nil {
		return initSide, err
	}
	fds := []int{int(text.Fd()), int(initEnd.f.Fd()), int(log.Fd()), int(r.counters.Fd())}
	for _, f := range []*os.File{stdio.Stdin, stdio.Stdout, stdio.Stderr} {
		if f == nil {
			f = null
		}
		fds = append(fds, int(f.Fd()))
	}
	return initSide, r.stageIn.send(message{What: "order"}, fds...)
}

// awaitOrder is the stage's side of order.
func awaitOrder(monitor peer) (*order, error) {
	m, fds, err := monitor.receive()
	if err != nil {
		return nil, err
	}
	if m.What != "order" || len(fds) != len(ordered) {
		return nil, fmt.Errorf("the monitor sent %q instead of an order", m.What)
	}
	for i, fd := range fds {
		flags := unix.O_CLOEXEC
		if ordered[i] <= 2 { // the payload's
			flags = 0
		}
		if err := unix.Dup3(fd, ordered[i], flags); err != nil {
			return nil, err
		}
		unix.Close(fd)
	}
	return readOrder()
}

// stageEnv has what the Go runtime reads; nothing else reaches the server. Until
// it serves, no thread and no collection is worth it: it lets go of the quick
// ones then (see Boot).
func stageEnv() []string {
	env := []string{roleEnv + "=stage"}
	quick := map[string]string{"GOMAXPROCS": "1", "GOGC": "off"}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "PLYFS_FAIL"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		} else if v, ok := quick[name]; ok {
			env = append(env, name+"="+v, quickEnv+name+"=1")
		}
	}
	return env
}

// stageCaps are what the stage needs in the outer user namespace: to map the
// inner one, and to be root over the files of its ids.
var stageCaps = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
	unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SETFCAP, unix.CAP_MKNOD,
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE,
}
