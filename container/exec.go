package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
	"github.com/plyfs/plyfs/container/nsfork"
	"github.com/plyfs/plyfs/fs/fail"
)

// execOrder is what the process that becomes an executed command is told.
type execOrder struct {
	Process  Process
	Hostname string
	Inner    idMaps
	HostNet  bool
}

// Executed is a command that runs in a container, as a child of this process.
type Executed struct {
	// Terminal is the master of its terminal, nil without one.
	Terminal *os.File
	proc     process
}

// Signal sends it a signal.
func (e *Executed) Signal(sig unix.Signal) error { return e.proc.signal(sig) }

// Wait gives its exit code.
func (e *Executed) Wait() int { return exitCode(wait(e.proc.PID)) }

// Exec runs a command in a running container, with the rights that its payload
// has: args, environment, user, directory and terminal are p's, the rest is the
// container's. It ends with this process.
func (c *Container) Exec(p Process, stdio IO) (*Executed, error) {
	st, err := c.running()
	if err != nil {
		return nil, err
	}
	if st.Status == Paused {
		return nil, fmt.Errorf("container %s is paused: nothing can run in it", st.Name)
	}
	own := &c.spec.Process
	p.Caps, p.NewPrivs, p.Seccomp, p.Rlimits = own.Caps, own.NewPrivs, own.Seccomp, own.Rlimits
	p.Notify = own.Notify && st.Inner.single()
	if p.User == "" {
		p.User = own.User
	}
	if p.Cwd == "" {
		p.Cwd = own.Cwd
	}
	p.Env = append(append([]string(nil), own.Env...), p.Env...)
	if err := checkUser(p.User); err != nil {
		return nil, err
	}
	filter := compileFilter(&p, st.Inner.single() && c.spec.IDs.Virtual && !p.Notify)
	if filter.err != nil {
		return nil, filter.err
	}
	e, peer, err := c.enter(st, &execOrder{p, c.spec.Hostname, st.Inner, c.spec.Net.Mode == NetHost}, "exec", stdio)
	if err != nil {
		return nil, err
	}
	defer peer.close()
	fail.Point("exec.entered")
	// One that has ended already has said why.
	if err = peer.send(message{Filter: filter.program}); err == nil || errors.Is(err, unix.EPIPE) {
		// It joins the container's cgroup when it needs no thread any more: there may
		// be no room for one.
		err = e.awaitStart(peer, func() error { return st.Cgroup.Add(e.proc.PID) })
	}
	if err != nil {
		_ = e.Signal(unix.SIGKILL)
		e.Wait()
		f := asFailure(err)
		return nil, &StartError{f.Code, f.Text}
	}
	fail.Point("exec.started")
	return e, nil
}

// enter starts this program in the container's namespaces, in a role.
func (c *Container) enter(st *State, o any, role string, stdio IO) (*Executed, peer, error) {
	pidfd, err := unix.PidfdOpen(st.Init.PID, 0)
	if err != nil {
		return nil, peer{}, fmt.Errorf("container %s: %w", st.Name, err)
	}
	defer unix.Close(pidfd)
	if !st.Init.alive() {
		return nil, peer{}, fmt.Errorf("container %s has just ended", st.Name)
	}
	ids := st.Outer
	if ids.none() {
		ids = st.Inner
	}
	self, err := safeSelf(ids)
	if err != nil {
		return nil, peer{}, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, peer{}, err
	}
	order, err := memFile("exec", text)
	if err != nil {
		return nil, peer{}, err
	}
	defer order.Close()
	ours, theirs, err := newPeers()
	if err != nil {
		return nil, peer{}, err
	}
	defer theirs.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, peer{}, err
	}
	defer null.Close()
	n := int(null.Fd())
	files := []int{n, n, n, int(theirs.f.Fd()), int(order.Fd())}
	for i, f := range []*os.File{stdio.Stdin, stdio.Stdout, stdio.Stderr} {
		if f != nil {
			files[i] = int(f.Fd())
		}
	}
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if ownTime(st.Init.PID) { // a reaper isn't: it has executed nothing since it asked for one
		flags |= unix.CLONE_NEWTIME
	}
	if c.spec.Net.Mode != NetHost {
		flags |= unix.CLONE_NEWNET
	}
	if !st.Inner.none() {
		flags |= unix.CLONE_NEWUSER
	}
	keepOurs()
	// The child is in the container with a copy of our memory for a moment.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }()
	pid, err := nsfork.Start(&nsfork.Command{
		PidFD: pidfd, Namespaces: flags, Root: !st.Inner.none(), Program: int(self.Fd()),
		Args: []string{"plyfs-" + role}, Env: []string{roleEnv + "=" + role, "GOMAXPROCS=1"}, Files: files,
	})
	if err != nil {
		ours.close()
		return nil, peer{}, fmt.Errorf("container %s can't be entered: %w", st.Name, err)
	}
	return &Executed{proc: identify(pid)}, ours, nil
}

// awaitStart listens until the process has become the command; join is called when
// all but that is done.
func (e *Executed) awaitStart(p peer, join func() error) error {
	isReady := false
	for {
		m, fds, err := p.receive()
		switch {
		case errors.Is(err, io.EOF) && isReady:
			return nil
		case err != nil:
			return errors.New("the process ended before the command was started")
		case m.Failure != nil:
			return m.Failure
		case m.What == ready:
			isReady = true
			err := join()
			if err == nil {
				err = p.send(message{What: entered})
			}
			if err != nil && !errors.Is(err, unix.EPIPE) {
				return err
			}
		case m.What == "terminal" && len(fds) == 1:
			e.Terminal = os.NewFile(uintptr(fds[0]), "terminal")
		}
	}
}

// runExec is the process in the container.
func runExec(Opener) error {
	caller := inherited(fdPeer)
	unix.CloseOnExec(fdOrder)
	f := asFailure(execute(caller))
	_ = caller.send(message{Failure: f})
	os.Exit(f.Code)
	return nil
}

// execute becomes the command; it returns only when it can't.
func execute(caller peer) error {
	o := new(execOrder)
	if err := readOrderInto(o); err != nil {
		return err
	}
	m, _, err := caller.receive()
	if err != nil {
		return err
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	who, err := lookUp(root, o.Process.User)
	if err == nil {
		err = who.mapped(o.Inner)
	}
	if err != nil {
		return err
	}
	if err := execDirectory(root, o.Process.Cwd); err != nil {
		return err
	}
	if _, err := unix.Setsid(); err != nil {
		return err
	}
	if o.Process.Terminal {
		if err := execTerminal(root, &o.Process, who.uid, caller); err != nil {
			return err
		}
	}
	env := o.Process.environment(o.Hostname, who.home)
	c := &credentials{process: &o.Process, who: who, filter: m.Filter, setGroups: !o.Inner.single(), scope: o.HostNet, notify: o.Process.Notify}
	if err := caller.send(message{What: ready}); err != nil {
		return err
	}
	if _, _, err := caller.receive(); err != nil { // we are in our cgroup
		return err
	}
	if err := c.take(); err != nil {
		return err
	}
	if o.Process.Notify {
		// Somebody has to answer for it, in here: process 1 does so for the
		// payload alone, and has no door that others could come through.
		return attendChild(o.Process.Args, env, o.Process.Terminal, c, caller.close)
	}
	return replace(o.Process.Args, env)
}

// execDirectory goes to the working directory, which the payload may have made
// a link to anywhere: only what lies in the root counts.
func execDirectory(root int, dir string) error {
	if dir == "" {
		dir = "/"
	}
	fd, err := inroot.Open(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return &failure{126, fmt.Sprintf("working directory %v", err)}
	}
	return workIn(fd, dir)
}

// execTerminal makes a terminal in the container's devpts, checks that it is
// one, and takes it.
func execTerminal(root int, p *Process, uid int, caller peer) error {
	master, err := inroot.OpenPlain(root, "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer unix.Close(master)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(master, &fs); err != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return errors.New("terminal: the container's /dev/pts is not a devpts")
	}
	tty, err := otherEnd(master)
	if err != nil {
		return err
	}
	p.Size.set(master)
	if err := caller.send(message{What: "terminal"}, master); err != nil {
		return err
	}
	return takeTTY(tty, uid, !p.Notify) // else the child's session gets it
}
