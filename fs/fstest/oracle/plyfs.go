package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Plyfs is plyfs, served by a process of its own (server.go).
type Plyfs struct {
	userNS bool
	index  string // of index files; "" when there are none
	fail   string // PLYFS_FAIL of the next process
	count  bool   // it counts the failpoints that it passes
	passed map[string]int

	mu    sync.Mutex // serialises orders
	cmd   *exec.Cmd  // nil when none runs; protected by mu
	in    io.WriteCloser
	out   *json.Decoder
	words *tail // what the server wrote on its standard error
}

// patience is how long an operation, or a mount, may take. Nothing in a
// sequence takes a hundredth of it.
const patience = 30 * time.Second

// NewPlyfs starts no process yet: the first mount does.
func NewPlyfs(t testing.TB, userNS bool) *Plyfs {
	p := &Plyfs{userNS: userNS}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end()
	})
	return p
}

// Name implements Filesystem.
func (p *Plyfs) Name() string { return "plyfs" }

// Mount implements Filesystem.
func (p *Plyfs) Mount(a Args) error {
	text := optionText(a)
	if p.index != "" && a.Extra != "live" {
		text += ",index=" + p.index
	}
	return p.order(order{Mount: true, Dir: a.Dir, Options: text, UserNS: p.userNS})
}

// Unmount implements Filesystem.
func (p *Plyfs) Unmount(dir string) error { return p.order(order{Dir: dir}) }

// order has the server do something. A server that died or hangs is ended: the
// next order starts another.
func (p *Plyfs) order(o order) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		if err := p.start(); err != nil {
			return fmt.Errorf("start the server: %w", err)
		}
	}
	stop := p.watch(p.cmd, o.Dir)
	defer stop()
	b, err := json.Marshal(o)
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	var a answer
	if err == nil {
		err = p.out.Decode(&a)
	}
	if err != nil {
		words := p.words
		p.end()
		return fmt.Errorf("the server ended: %s", words)
	}
	for point, n := range a.Passed {
		p.passed[point] += n
	}
	if a.Err != "" {
		return fmt.Errorf("%s", a.Err)
	}
	return nil
}

// Watch ends the server when the function that it returns is not called in
// time: whoever waits for the mount then gets an error instead of hanging.
func (p *Plyfs) Watch(what string) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return func() {}
	}
	return p.watch(p.cmd, what)
}

func (p *Plyfs) watch(cmd *exec.Cmd, what string) (stop func()) {
	words := p.words
	t := time.AfterFunc(patience, func() {
		fmt.Fprintf(words, "\n%s: no answer after %v\n", what, patience)
		_ = cmd.Process.Signal(unix.SIGQUIT) // it tells its stacks
		time.Sleep(time.Second)
		_ = cmd.Process.Kill()
		// What hangs once may not hang again when rapid shows the failure.
		fmt.Fprintf(os.Stderr, "the server said:\n%s\n", words)
	})
	return func() { t.Stop() }
}

// Words are the server's last ones.
func (p *Plyfs) Words() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.words == nil {
		return ""
	}
	return p.words.String()
}

// start starts a server process. p.mu is held.
func (p *Plyfs) start() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ServerEnv+"=1", "PLYFS_FAIL="+p.fail)
	if p.count {
		cmd.Env = append(cmd.Env, countEnv+"=1")
	}
	words := new(tail)
	cmd.Stderr = words
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.in, p.out, p.words = cmd, in, json.NewDecoder(out), words
	return nil
}

// end ends the server process, whatever it is doing. p.mu is held.
func (p *Plyfs) end() {
	if p.cmd == nil {
		return
	}
	p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Kill kills the server process, wherever it is.
func (p *Plyfs) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
	}
}

// Restart lets go of a process that was killed; the next one is to die at a
// failpoint.
func (p *Plyfs) Restart(fail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.fail = fail
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 64 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - tailSize; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
