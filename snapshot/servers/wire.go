package servers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
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
	OpCounts = "counts" // FUSE requests by kind, of all mounts
)

type Request struct {
	Op      string
	Dir     string        `json:",omitempty"`
	Options string        `json:",omitempty"`
	Wait    time.Duration `json:",omitempty"`
}

type Response struct {
	Err string `json:",omitempty"`

	Version string            `json:",omitempty"`
	PID     int               `json:",omitempty"`
	Dirs    []string          `json:",omitempty"`
	Slots   []SlotRef         `json:",omitempty"` // of Dirs, or of what was mounted
	Files   [][]byte          `json:",omitempty"` // names are bytes, not text
	OK      bool              `json:",omitempty"`
	Bytes   int64             `json:",omitempty"`
	Inodes  int64             `json:",omitempty"`
	Counts  map[string]uint64 `json:",omitempty"`
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
type errServer string

func (e errServer) Error() string { return string(e) }

func (c *conn) ask(q Request) (r Response, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.enc.Encode(q); err == nil {
		err = c.dec.Decode(&r)
	}
	if err == nil && r.Err != "" {
		err = errServer(r.Err)
	}
	return r, err
}

// atOnce is how long a server may take for what it only has to look up. One
// that is stopped must not stop the daemon as well.
const atOnce = 10 * time.Second

// quickConn is a connection for such requests, made anew after a fault: what
// comes late would be taken for the next answer.
type quickConn struct {
	socket string

	mu     sync.Mutex
	c      *conn // nil after a fault
	closed bool
}

func (q *quickConn) ask(r Request) (Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return Response{}, net.ErrClosed
	}
	if q.c == nil {
		c, err := dial(q.socket)
		if err != nil {
			return Response{}, err
		}
		q.c = c
	}
	_ = q.c.c.SetDeadline(time.Now().Add(atOnce)) // fails for a closed one: so does ask
	a, err := q.c.ask(r)
	if err != nil && !isServer(err) {
		_ = q.c.c.Close()
		q.c = nil
	}
	return a, err
}

func (q *quickConn) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.c != nil {
		_ = q.c.c.Close()
	}
}

// isServer says whether the server lives and has answered.
func isServer(err error) bool {
	var e errServer
	return errors.As(err, &e)
}
