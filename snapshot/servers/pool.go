package servers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pool is the daemon's side: the server processes that there are.
type Pool struct {
	dir     string // of the sockets
	start   func(listener *os.File) error
	max     int
	version string
	lost    chan struct{}

	starting sync.Mutex

	mu      sync.Mutex
	servers map[string]*peer // by socket
	where   map[string]place // by mount point
	closed  bool
}

// place is where a mount is served and counted.
type place struct {
	*peer
	slot    SlotRef
	pushing chan error // of the push that is under way
	failed  error      // what a push has found and nobody was told who needs it
}

// peer is a server process.
type peer struct {
	socket  string
	version string
	pid     int
	watched *conn     // tells of its end
	quick   quickConn // for what is answered at once
	mounts  int       // protected by Pool.mu
	table   *Table    // protected by Pool.mu; nil when the server has none or is gone
}

// Config is how a Pool makes server processes.
type Config struct {
	// State is the directory of the sockets: it is made in there.
	State string
	// MountsPerServer bounds how many mounts share a process, and so its end.
	MountsPerServer int
	// Program and Args are a server process: containerd-plyfs-grpc, with the
	// verb for that. Args begins with the name of the program.
	Program string
	Args    []string
	// Version is that of Program. Servers of another one are left from before
	// an update and get no new mounts; "" takes any.
	Version string
	// Log is where servers write; nil is the daemon's standard error.
	Log *os.File
}

// NewPool finds the servers that an earlier daemon has left.
func NewPool(c Config) (*Pool, error) {
	p := &Pool{
		dir:     filepath.Join(c.State, "s"),
		max:     max(c.MountsPerServer, 1),
		version: c.Version,
		lost:    make(chan struct{}, 1),
		servers: map[string]*peer{},
		where:   map[string]place{},
	}
	p.start = func(l *os.File) error { return startServer(c, l) }
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory %s cannot be made: %w", p.dir, err)
	}
	sockets, err := filepath.Glob(filepath.Join(p.dir, "*.sock"))
	if err != nil {
		return nil, err
	}
	for _, s := range sockets {
		if err := p.adopt(s); err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
			p.Close()
			return nil, fmt.Errorf("server process on %s does not answer: %w", s, err)
		}
	}
	for _, s := range p.all() {
		p.retire(s)
	}
	return p, nil
}

// startServer starts a server process that outlives us: it has a session of
// its own, and nothing of ours but the socket and the log.
func startServer(c Config, listener *os.File) error {
	cmd := exec.Command(c.Program)
	if len(c.Args) > 0 {
		cmd.Args = c.Args
	}
	cmd.ExtraFiles = []*os.File{listener}
	cmd.Stderr = os.Stderr
	if c.Log != nil {
		cmd.Stderr = c.Log
	}
	cmd.Dir = "/"
	// What is for the daemon alone: systemd's sockets and watchdog.
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
		default:
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start a server process: %w", err)
	}
	go cmd.Wait() // no zombie; how it ended is seen on the connection
	return nil
}

// adopt connects to a server process and stays connected. One that is being
// killed may still take a connection and drop it: it is asked again until it
// is dead.
func (p *Pool) adopt(socket string) error {
	for deadline := time.Now().Add(atOnce); ; time.Sleep(10 * time.Millisecond) {
		err := p.connect(socket)
		if !dropped(err) || time.Now().After(deadline) {
			return err
		}
	}
}

func dropped(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// connect is adopt, once.
func (p *Pool) connect(socket string) error {
	c, err := dial(socket)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(socket) // it died
		p.tellLost()
	}
	if err != nil {
		return err
	}
	_ = c.c.SetDeadline(time.Now().Add(atOnce))
	hello, err := c.ask(Request{Op: OpHello})
	var list Response
	if err == nil {
		list, err = c.ask(Request{Op: OpList})
	}
	var table *Table
	if err == nil {
		table, err = askTable(socket)
	}
	var watch *conn
	if err == nil {
		watch, err = dial(socket)
	}
	if err != nil {
		_ = c.c.Close()
		table.unmap()
		return err
	}
	s := &peer{socket: socket, version: hello.Version, pid: hello.PID, mounts: len(list.Dirs), table: table}
	s.quick.socket, s.quick.c, s.watched = socket, c, watch
	p.mu.Lock()
	p.servers[socket] = s
	for i, d := range list.Dirs {
		at := place{peer: s}
		if i < len(list.Slots) {
			at.slot = list.Slots[i]
		}
		p.where[d] = at
	}
	p.mu.Unlock()
	go p.watch(s, watch)
	return nil
}

// watch waits for the end of a server process.
func (p *Pool) watch(s *peer, c *conn) {
	_, _ = io.Copy(io.Discard, c.c)
	_ = c.c.Close()
	p.mu.Lock()
	delete(p.servers, s.socket)
	left := 0
	for d, at := range p.where {
		if at.peer == s {
			delete(p.where, d)
			left++
		}
	}
	closed := p.closed
	s.table.unmap()
	s.table = nil
	p.mu.Unlock()
	s.quick.close()
	if !closed { // then it is we who have let go
		_ = os.Remove(s.socket)
	}
	if left > 0 && !closed {
		p.tellLost()
	}
}

func (p *Pool) tellLost() {
	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// Close lets go of the servers, which go on as long as they have mounts.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, s := range p.all() {
		s.quick.close()
		_ = s.watched.c.Close()
	}
}

// room gives a server that takes another mount, and counts it in.
func (p *Pool) room() (*peer, error) {
	p.starting.Lock()
	defer p.starting.Unlock()
	if s := p.choose(); s != nil {
		return s, nil
	}
	if err := p.more(); err != nil {
		return nil, err
	}
	if s := p.choose(); s != nil {
		return s, nil
	}
	return nil, errors.New("the server process ended at once: see the log")
}

// choose takes the fullest server with room: the others may end. A server of
// an older version serves its mounts and gets no new ones.
func (p *Pool) choose() *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *peer
	for _, s := range p.servers {
		if p.takes(s) && (best == nil || s.mounts > best.mounts) {
			best = s
		}
	}
	if best != nil {
		best.mounts++
	}
	return best
}

// more starts a server process.
func (p *Pool) more() error {
	socket := ""
	for n := 1; ; n++ {
		socket = filepath.Join(p.dir, fmt.Sprintf("%d.sock", n))
		if _, err := os.Lstat(socket); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	l, err := listen(socket)
	if err != nil {
		return fmt.Errorf("socket of a server process %s: %w", socket, err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err == nil {
		err = p.start(f)
		_ = f.Close()
	}
	_ = l.Close()
	if err == nil {
		err = p.adopt(socket)
	}
	if err != nil {
		_ = os.Remove(socket)
	}
	return err
}

// listen makes a socket whose path may be longer than an address can be.
func listen(path string) (*net.UnixListener, error) {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	return net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
}
