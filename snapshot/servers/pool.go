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
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pool is the daemon's side: the server processes that there are.
type Pool struct {
	dir     string // of the sockets
	start   func(listener *os.File) (pid int, err error)
	max     int
	version string
	lost    chan struct{}

	found   *finding
	silence func(who string)

	starting sync.Mutex

	mu      sync.Mutex
	servers map[string]*peer         // by socket
	where   map[string]place         // by mount point
	turns   map[string]chan struct{} // what runs alone, see alone; closed at its end
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
	version string // protected by Pool.mu
	kept    bool   // another one goes on when it dies
	pid     atomic.Int64
	watched *conn     // tells of its end; protected by Pool.mu
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
	// Silent is told of each server of an earlier daemon that lives and doesn't
	// answer, by a description. nil is nobody.
	Silent func(who string)
}

// NewPool finds the servers that an earlier daemon has left. It waits for none
// of them: they are connected to in the background.
func NewPool(c Config) (*Pool, error) {
	p := &Pool{
		dir:     filepath.Join(c.State, "s"),
		max:     max(c.MountsPerServer, 1),
		version: c.Version,
		lost:    make(chan struct{}, 1),
		silence: c.Silent,
		servers: map[string]*peer{},
		where:   map[string]place{},
		turns:   map[string]chan struct{}{},
	}
	p.start = func(l *os.File) (int, error) { return startServer(c, l) }
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory %s cannot be made: %w", p.dir, err)
	}
	sockets, err := filepath.Glob(filepath.Join(p.dir, "*.sock"))
	if err != nil {
		return nil, err
	}
	p.find(sockets)
	return p, nil
}

// startServer starts a server process that outlives us: it has a session of
// its own, and nothing of ours but the socket and the log.
func startServer(c Config, listener *os.File) (pid int, err error) {
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
		return 0, fmt.Errorf("cannot start a server process: %w", err)
	}
	go cmd.Wait() // no zombie; how it ended is seen on the connection
	return cmd.Process.Pid, nil
}

// watch waits for the end of a server process that no other one follows.
func (p *Pool) watch(s *peer, c *conn) {
	for c != nil {
		_, _ = io.Copy(io.Discard, c.c)
		_ = c.c.Close()
		c = p.follow(s)
	}
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
		_ = removeSocket(s.socket)
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
	p.found.end()
	for _, s := range p.all() {
		s.quick.close()
		p.mu.Lock()
		watched := s.watched
		p.mu.Unlock()
		_ = watched.c.Close()
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
		var pid int
		if pid, err = p.start(f); err == nil {
			writePID(socket, pid)
		}
		_ = f.Close()
	}
	_ = l.Close()
	if err == nil {
		err = p.adopt(socket)
	}
	if err != nil {
		_ = removeSocket(socket)
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
