package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ExecAttached runs a command with a terminal in a running container, like
// Exec, under a keeper: a process of ours that goes on with it when this one
// detaches.
func (c *Container) ExecAttached(p Process) (*Attached, error) {
	if _, err := c.running(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	order, err := memFile("exec", text)
	if err != nil {
		return nil, err
	}
	defer order.Close()
	peer, err := c.startAside("keeper", nil, order)
	if err != nil {
		return nil, err
	}
	return awaitAttached(peer)
}

// runKeeper is the keeper.
func runKeeper(Opener) error {
	caller := inherited(fdPeer)
	unix.CloseOnExec(fdOrder)
	if err := keep(caller); err != nil {
		return caller.send(message{Failure: asFailure(err)})
	}
	return nil
}

func keep(caller peer) error {
	if len(os.Args) != 3 {
		return errors.New("this role is for plyfs itself")
	}
	var p Process
	if err := readOrderInto(&p); err != nil {
		return err
	}
	_ = unix.Close(fdOrder)
	c, err := (&Store{root: os.Args[1]}).open(os.Args[2])
	if err != nil {
		return err
	}
	CatchSignals() // the one who looks on passes them
	e, err := c.Exec(p, IO{})
	if err != nil {
		var start *StartError
		if errors.As(err, &start) {
			return &failure{start.Code, start.Text}
		}
		return err
	}
	if e.Terminal == nil {
		return fmt.Errorf("container %s: the command got no terminal", c.Short())
	}
	con := newConsole(e.Terminal, e.Signal)
	if err := con.add(caller, true); err != nil {
		_ = e.Signal(unix.SIGKILL)
		e.Wait()
		return err
	}
	_ = caller.send(message{What: ready}) // one who left is seen by the console
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, con)
		close(read)
	}()
	code := e.Wait()
	lastOf(read)
	con.end(code, nil)
	return nil
}
