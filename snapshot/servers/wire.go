package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The requests.
const (
	OpHello  = "hello"  // who is there
	OpMount  = "mount"  // Dir, Options
	OpList   = "list"   // the mounts
	OpServes = "serves" // Dir: whether its mount is there and served
	OpTable  = "table"  // a descriptor of the table that mounts are counted in
	OpUsage  = "usage"  // Dir, of a mount that has no slot in it
	OpFiles  = "files"  // Dir: regular files of the upper that the kernel knows
	OpGone   = "gone"   // Dir: wait until its layers are closed, at most Wait
	OpCounts = "counts" // what all mounts have done; their requests are timed for some minutes from then on
)

// Request is what the daemon asks of a server process: an Op, and what it needs.
type Request struct {
	Op      string
	Dir     string        `json:",omitempty"`
	Options string        `json:",omitempty"`
	Wait    time.Duration `json:",omitempty"`
}

// Response is the answer to a Request: Err, or what the Op asked for.
type Response struct {
	Err   string        `json:",omitempty"`
	Errno syscall.Errno `json:",omitempty"` // what Err comes from, 0 when it is nothing of the kernel's

	Version string            `json:",omitempty"`
	PID     int               `json:",omitempty"`
	Kept    bool              `json:",omitempty"` // another server goes on when this one dies
	Dirs    []string          `json:",omitempty"`
	Slots   []SlotRef         `json:",omitempty"` // of Dirs, or of what was mounted
	Files   [][]byte          `json:",omitempty"` // names are bytes, not text
	OK      bool              `json:",omitempty"`
	Bytes   int64             `json:",omitempty"`
	Inodes  int64             `json:",omitempty"`
	Counts  map[string]uint64 `json:",omitempty"`
	Figures *Figures          `json:",omitempty"` // of counts
}

// conn is a connection to a server process.
type conn struct {
	mu  sync.Mutex
	c   net.Conn
	enc *json.Encoder
	dec *json.Decoder
}

func newConn(c net.Conn) *conn {
	return &conn{c: c, enc: json.NewEncoder(c), dec: json.NewDecoder(c)}
}

// dial connects to the socket of a server process. The path may be longer than
// a socket's address can be.
func dial(path string) (*conn, error) {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// errServer is an answer that says what could not be done; every other error
// of ask is one of the connection.
type errServer struct {
	text  string
	errno syscall.Errno
}

func (e errServer) Error() string { return e.text }

func (e errServer) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

func (c *conn) ask(q Request) (r Response, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.enc.Encode(q); err == nil {
		err = c.dec.Decode(&r)
	}
	if err == nil && r.Err != "" {
		err = errServer{r.Err, r.Errno}
	}
	return r, err
}

// atOnce is how long a server may take for what it only has to look up. One
// that is stopped must not stop the daemon as well.
const atOnce = 10 * time.Second

// again is how long one that was found to be stopped may take.
const again = time.Second

// quickConn is a connection for such requests, made anew after a fault: what
// comes late would be taken for the next answer. Of a server that has let one
// request wait too long nobody else has to find that out: it is asked whether it
// is back on a connection of its own, and all wait for that, and not for long.
type quickConn struct {
	socket string
	kept   bool // who ends is followed by another
	hung   atomic.Bool

	mu     sync.Mutex
	c      *conn         // nil after a fault
	back   chan struct{} // not nil while the server hangs; closed when it answers
	bell   *conn         // where it is asked whether it is back
	closed bool
}

func (q *quickConn) ask(r Request) (Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if back := q.back; back != nil {
		q.mu.Unlock()
		select {
		case <-back:
		case <-time.After(again):
		}
		q.mu.Lock()
	}
	switch {
	case q.closed:
		return Response{}, net.ErrClosed
	case q.back != nil:
		return Response{}, os.ErrDeadlineExceeded
	}
	end := time.Now().Add(atOnce)
	for {
		a, err := q.once(r, end)
		if !q.kept || !dropped(err) || time.Now().After(end) {
			return a, err
		}
		time.Sleep(5 * time.Millisecond) // the next server is about to answer
	}
}

// once is ask without a second try. Precondition: q.mu is held.
func (q *quickConn) once(r Request, end time.Time) (Response, error) {
	if q.c == nil {
		c, err := dial(q.socket)
		if err != nil {
			return Response{}, err
		}
		q.c = c
	}
	_ = q.c.c.SetDeadline(end) // fails for a closed one: so does ask
	a, err := q.c.ask(r)
	if err != nil && !isServer(err) {
		_ = q.c.c.Close()
		q.c = nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		q.hangsLocked()
	}
	return a, err
}

// askFor is ask for somebody who waits as long as ctx goes on.
func (q *quickConn) askFor(ctx context.Context, r Request) (a Response, err error) {
	if ctx.Done() == nil {
		return q.ask(r)
	}
	done := make(chan struct{})
	var late Response
	var lateErr error
	go func() {
		late, lateErr = q.ask(r)
		close(done)
	}()
	select {
	case <-done:
		return late, lateErr
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
}

// hangsLocked waits in the background until the server is back. Precondition:
// q.mu is held.
func (q *quickConn) hangsLocked() {
	bell, err := dial(q.socket)
	if err != nil {
		return // it is ending, or has more connections than it takes: the next one finds out
	}
	back := make(chan struct{})
	q.back, q.bell = back, bell
	q.hung.Store(true)
	go func() {
		_, _ = bell.ask(Request{Op: OpHello}) // an answer, or its end
		_ = bell.c.Close()
		q.mu.Lock()
		q.back, q.bell = nil, nil
		q.hung.Store(false)
		q.mu.Unlock()
		close(back)
	}()
}

func (q *quickConn) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, c := range []*conn{q.c, q.bell} {
		if c != nil {
			_ = c.c.Close()
		}
	}
}

// isServer says whether the server lives and has answered.
func isServer(err error) bool {
	var e errServer
	return errors.As(err, &e)
}
