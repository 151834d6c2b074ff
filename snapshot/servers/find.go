package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// glance is how long a server of an earlier daemon may take to answer before
// we go on without it.
const glance = 2 * time.Second

// finding are the servers of an earlier daemon, which are connected to in the
// background: one that is stopped must not keep the others' mounts from use.
type finding struct {
	ctx     context.Context // of the attempts
	end     context.CancelFunc
	settled chan struct{} // closed when each has answered or has had its time

	mu     sync.Mutex
	silent map[string]bool   // sockets of those that haven't answered; protected by mu
	probes map[string]*probe // by directory; protected by mu
}

// probe is a question to a mount.
type probe struct {
	since time.Time
	done  chan struct{} // closed when there is an answer
	dead  bool          // the answer; set before done is closed
}

// find connects to the servers on sockets, for as long as it takes.
func (p *Pool) find(sockets []string) {
	f := &finding{settled: make(chan struct{}), silent: map[string]bool{}, probes: map[string]*probe{}}
	f.ctx, f.end = context.WithCancel(context.Background())
	p.found = f
	var all sync.WaitGroup
	for _, s := range sockets {
		f.silent[s] = true
		all.Go(func() { p.findOne(s) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	go func() {
		late := time.NewTimer(glance)
		defer late.Stop()
		select {
		case <-done:
		case <-f.ctx.Done():
		case <-late.C:
			for _, s := range f.still() {
				if p.silence != nil {
					p.silence(describe(s))
				}
			}
		}
		close(f.settled)
		for _, s := range p.all() {
			p.retire(s)
		}
	}()
}

// findOne connects to one server, or finds that it is dead.
func (p *Pool) findOne(socket string) {
	f := p.found
	for f.ctx.Err() == nil {
		err := p.connect(f.ctx, socket)
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
			f.mu.Lock()
			delete(f.silent, socket)
			f.mu.Unlock()
			return
		}
		pause := 100 * time.Millisecond // more are waiting there than a socket takes
		if dropped(err) {
			pause = 10 * time.Millisecond
		}
		select {
		case <-f.ctx.Done():
		case <-time.After(pause):
		}
	}
}

// wait waits until what can be known of earlier servers is known.
func (f *finding) wait(ctx context.Context) error {
	select {
	case <-f.settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// still are the sockets of servers that haven't answered.
func (f *finding) still() (sockets []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.silent {
		sockets = append(sockets, s)
	}
	return sockets
}

// mute says that the mount on dir is that of a server that lives and hasn't
// told us what it serves: then it must not be replaced.
func (f *finding) mute(ctx context.Context, dir string) error {
	if len(f.still()) == 0 {
		return nil
	}
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		ours := i.FSType == "fuse.plyfs" && i.Mountpoint == dir
		return !ours, ours
	})
	if err != nil || len(found) == 0 || f.dead(ctx, dir) {
		return err
	}
	// One that goes on again is about to tell.
	for end := time.Now().Add(again); time.Now().Before(end); time.Sleep(again / 50) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(f.still()) == 0 {
			return nil
		}
	}
	silent := f.still()
	for i, s := range silent {
		silent[i] = describe(s)
	}
	if len(silent) == 0 {
		return nil
	}
	return fmt.Errorf("%s of mounts does not answer: if it is stopped, continue or kill it", strings.Join(silent, ", or "))
}

// dead says whether the mount on dir has lost its server. Whoever asks one that
// is stopped waits until it goes on, so there is one question at a time.
func (f *finding) dead(ctx context.Context, dir string) bool {
	f.mu.Lock()
	asked := f.probes[dir]
	if asked == nil {
		asked = &probe{since: time.Now(), done: make(chan struct{})}
		f.probes[dir] = asked
		go func() {
			var st unix.Statfs_t
			asked.dead = unix.Statfs(dir, &st) == unix.ENOTCONN
			f.mu.Lock()
			delete(f.probes, dir)
			f.mu.Unlock()
			close(asked.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-asked.done:
		return asked.dead
	case <-ctx.Done():
		return false
	case <-time.After(glance - time.Since(asked.since)):
		return false
	}
}

// adopt connects to a server process that was just started. One that is being
// killed may still take a connection and drop it: it is asked again until it
// is dead.
func (p *Pool) adopt(socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), atOnce)
	defer cancel()
	for {
		err := p.connect(ctx, socket)
		if !dropped(err) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func dropped(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// greeting is what a server process has said of itself.
type greeting struct {
	c, watch *conn
	hello    Response
	list     Response
	table    *Table
}

// greet connects to a server process and asks who is there. It waits for an
// answer until ctx ends.
func greet(ctx context.Context, socket string) (g greeting, err error) {
	if g.c, err = dial(socket); err != nil {
		return g, err
	}
	stop := context.AfterFunc(ctx, func() { _ = g.c.c.Close() })
	g.hello, err = g.c.ask(Request{Op: OpHello})
	if err == nil {
		g.list, err = g.c.ask(Request{Op: OpList})
	}
	if err == nil {
		g.table, err = askTable(socket)
	}
	if err == nil {
		g.watch, err = dial(socket)
	}
	if !stop() && err == nil {
		_ = g.watch.c.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = g.c.c.Close()
		g.table.unmap()
		return g, err
	}
	if g.hello.Kept {
		writePID(socket, g.hello.PID) // it may be the successor of the one that was started
	}
	return g, nil
}

// connect connects to a server process and stays connected. It waits for an
// answer until ctx ends.
func (p *Pool) connect(ctx context.Context, socket string) error {
	g, err := greet(ctx, socket)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = removeSocket(socket) // it died
		p.tellLost()
	}
	if err != nil {
		return err
	}
	s := &peer{socket: socket, version: g.hello.Version, kept: g.hello.Kept, mounts: len(g.list.Dirs), table: g.table}
	s.pid.Store(int64(g.hello.PID))
	s.quick.socket, s.quick.kept, s.quick.c, s.watched = socket, s.kept, g.c, g.watch
	p.mu.Lock()
	p.servers[socket] = s
	for i, d := range g.list.Dirs {
		at := place{peer: s}
		if i < len(g.list.Slots) {
			at.slot = g.list.Slots[i]
		}
		p.where[d] = at
	}
	closed := p.closed
	p.mu.Unlock()
	if closed { // meanwhile, and Close didn't see it
		s.quick.close()
		_ = g.watch.c.Close()
	}
	go p.watch(s, g.watch)
	return nil
}

// The number of a server process lies beside its socket, for messages about one
// that can't say it.

func pidFile(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".pid" }

func writePID(socket string, pid int) {
	_ = os.WriteFile(pidFile(socket), fmt.Appendln(nil, pid), 0o600) // without, a message has the socket
}

func removeSocket(socket string) error {
	_ = os.Remove(pidFile(socket))
	return os.Remove(socket)
}

func describe(socket string) string {
	if pid, err := os.ReadFile(pidFile(socket)); err == nil {
		return "the server process " + strings.TrimSpace(string(pid))
	}
	return "the server process on " + filepath.Clean(socket)
}
