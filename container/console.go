package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// doorName is the socket in a container's directory through which others come
// to its terminal. Only its user can reach it.
const doorName = "attach"

// console is the terminal of a payload in the process that watches over it,
// and whoever looks at it. Reading from the console reads what the payload
// writes, and passes it to all viewers on the way.
//
// A viewer gets the master of the terminal itself, to type into and to set its
// size, and a pipe with the output, because of two who read one terminal each
// would get a part.
type console struct {
	master *os.File
	signal func(unix.Signal) error // to the payload

	mu      sync.Mutex
	viewers map[*viewer]bool // whether they still look; protected by mu; nil after the end
	door    int              // protected by mu; -1 is none
}

type viewer struct {
	peer peer
	out  *os.File
	// owner ends the payload by going away without a word.
	owner bool
}

// The words between a console and its viewers: message.What.
const (
	sayTerminal = "terminal" // the master and the output follow
	sayDetach   = "detach"   // the viewer leaves, and the payload goes on
	saySignal   = "signal"   // for the payload: message.Code
	sayEnded    = "ended"    // with message.Code, or why in message.Failure
)

func newConsole(master *os.File, signal func(unix.Signal) error) *console {
	return &console{master: master, signal: signal, viewers: map[*viewer]bool{}, door: -1}
}

// add lets a viewer in. It may be told to be the owner.
func (c *console) add(p peer, owner bool) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	defer pr.Close()
	v := &viewer{p, pw, owner}
	c.mu.Lock()
	open := c.viewers != nil
	if open {
		c.viewers[v] = true
	}
	c.mu.Unlock()
	if !open {
		pw.Close()
		return errors.New("the container has just ended")
	}
	if err := p.send(message{What: sayTerminal}, int(c.master.Fd()), int(pr.Fd())); err != nil {
		c.drop(v)
		return err
	}
	go c.listen(v)
	return nil
}

// drop forgets a viewer.
func (c *console) drop(v *viewer) {
	c.mu.Lock()
	_, known := c.viewers[v]
	delete(c.viewers, v)
	c.mu.Unlock()
	if known {
		v.out.Close()
		v.peer.close()
	}
}

// lookAway gives a viewer no more output: it has closed its end. Whether it has
// detached or has gone without a word is for listen to hear: the word may still lie
// in its socket.
func (c *console) lookAway(v *viewer) {
	c.mu.Lock()
	if _, known := c.viewers[v]; known {
		c.viewers[v] = false
	}
	c.mu.Unlock()
	v.out.Close()
}

// listen does what a viewer says until it leaves.
func (c *console) listen(v *viewer) {
	defer c.drop(v)
	for {
		m, _, err := v.peer.receive()
		switch {
		case err != nil:
			if v.owner {
				_ = c.signal(unix.SIGKILL) // it may have ended itself
			}
			return
		case m.What == sayDetach:
			return
		case m.What == saySignal:
			_ = c.signal(unix.Signal(m.Code))
		}
	}
}

// Read is an io.Reader of the output. It ends with an error when nobody has
// the other end of the terminal any more.
func (c *console) Read(p []byte) (int, error) {
	n, err := c.master.Read(p)
	if n > 0 {
		c.mu.Lock()
		var all []*viewer
		for v, looks := range c.viewers {
			if looks {
				all = append(all, v)
			}
		}
		c.mu.Unlock()
		for _, v := range all {
			if _, err := v.out.Write(p[:n]); err != nil {
				c.lookAway(v)
			}
		}
	}
	return n, err
}

// Close keeps the terminal: viewers have it, and end closes it.
func (c *console) Close() error { return nil }

// open opens the door: whoever connects to it is a viewer.
func (c *console) open(dir string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	err = throughDoor(dir, func(a *unix.SockaddrUnix, dirfd int) error {
		if err := unix.Unlinkat(dirfd, doorName, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return unix.Bind(fd, a)
	})
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("attach: %w", err)
	}
	c.mu.Lock()
	c.door = fd
	c.mu.Unlock()
	go func() {
		defer unix.Close(fd)
		for {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				p := peer{os.NewFile(uintptr(conn), "viewer")}
				if c.add(p, false) != nil {
					p.close()
				}
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			default:
				return // end has shut it
			}
		}
	}()
	return nil
}

// end tells all viewers how the payload has ended.
func (c *console) end(code int, trouble error) {
	c.mu.Lock()
	viewers, door := c.viewers, c.door
	c.viewers, c.door = nil, -1
	c.mu.Unlock()
	if door >= 0 {
		_ = unix.Shutdown(door, unix.SHUT_RDWR)
	}
	m := message{What: sayEnded, Code: code}
	if trouble != nil {
		m.Failure = asFailure(trouble)
	}
	for v := range viewers {
		v.out.Close()
		_ = v.peer.send(m) // it may have left
	}
	c.master.Close()
}

// throughDoor gives the address of the door: by the descriptor of its
// directory, because a path may be longer than an address can be.
func throughDoor(dir string, use func(a *unix.SockaddrUnix, dirfd int) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return use(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(fd) + "/" + doorName}, fd)
}
