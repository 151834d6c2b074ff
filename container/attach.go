package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attached is a payload's terminal that another process watches over: a
// container's monitor, or the keeper of an executed command.
type Attached struct {
	// Terminal is for what is typed, and has the size.
	Terminal *os.File
	// Output is what the payload writes, to its end.
	Output *os.File
	// Warnings say what was asked for and isn't in force.
	Warnings []string

	peer peer
}

// Signal sends the payload a signal.
func (a *Attached) Signal(sig unix.Signal) error {
	return a.peer.send(message{What: saySignal, Code: int(sig)})
}

// Detach leaves the payload to itself.
func (a *Attached) Detach() error {
	err := a.peer.send(message{What: sayDetach})
	a.close()
	return err
}

// Wait gives the exit code. Output has to be read meanwhile.
func (a *Attached) Wait() (int, error) {
	defer a.close()
	for {
		m, _, err := a.peer.receive()
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("the process that watched over it was killed, and nobody knows its exit code")
		case err != nil:
			return 0, err
		case m.What == sayEnded && m.Failure != nil:
			return 0, m.Failure
		case m.What == sayEnded:
			return m.Code, nil
		}
	}
}

func (a *Attached) close() { a.peer.close() }

// Attach connects to the terminal of a running container.
func (c *Container) Attach() (*Attached, error) {
	st, err := c.running()
	if err != nil {
		return nil, err
	}
	if !c.spec.Process.Terminal {
		return nil, fmt.Errorf("container %s has no terminal: plyfs logs -f %s shows what it writes, and plyfs exec -it %s sh gives one", st.Name, st.Name, st.Name)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	a := &Attached{peer: peer{os.NewFile(uintptr(fd), "attach")}}
	err = throughDoor(c.Dir(), func(to *unix.SockaddrUnix, _ int) error { return unix.Connect(fd, to) })
	if err == nil {
		err = a.await(sayTerminal)
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("container %s: its terminal can't be reached: %w", st.Name, err)
	}
	return a, nil
}

// await listens until a word comes, and takes the terminal when that does. A
// failure is a StartError.
func (a *Attached) await(word string) error {
	for {
		m, fds, err := a.peer.receive()
		switch {
		case err != nil:
			return errors.New("the process that watches over it ended before the command was started")
		case m.Failure != nil:
			return &StartError{m.Failure.Code, m.Failure.Text}
		case m.Warning != "":
			a.Warnings = append(a.Warnings, m.Warning)
		case m.What == sayTerminal && len(fds) == 2:
			a.Terminal = os.NewFile(uintptr(fds[0]), "terminal")
			a.Output = os.NewFile(uintptr(fds[1]), "output")
		}
		if m.What == word {
			return nil
		}
	}
}

// startAside starts this program in a role, in a session of its own, with the
// other end of the peer.
func (c *Container) startAside(role string, more []string, order *os.File) (peer, error) {
	ours, theirs, err := newPeers()
	if err != nil {
		return peer{}, err
	}
	defer theirs.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return peer{}, err
	}
	defer null.Close()
	keepOurs()
	n := null.Fd()
	files := []uintptr{n, n, n, theirs.f.Fd()}
	if order != nil {
		files = append(files, order.Fd())
	}
	args := append([]string{"plyfs-" + role, c.store.root, c.ID}, more...)
	_, err = syscall.ForkExec(selfExe, args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), roleEnv+"="+role),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.close()
		return peer{}, fmt.Errorf("cannot start the %s: %w", role, err)
	}
	return ours, nil
}

// attached says to a monitor that its caller looks on.
const attached = "attached"

// StartAttached starts the container with a monitor of its own, as
// StartDetached does, and looks at its terminal. The container ends with this
// process, unless that detaches first.
func (c *Container) StartAttached() (*Attached, error) {
	p, err := c.startAside("monitor", []string{attached}, nil)
	if err != nil {
		return nil, err
	}
	return awaitAttached(p)
}

func awaitAttached(p peer) (*Attached, error) {
	a := &Attached{peer: p}
	err := a.await(ready)
	if err != nil {
		a.close()
	}
	return a, err // with the warnings in any case
}
