package harness

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal makes a pseudo terminal.
func Terminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// Typist sits before a terminal that a command runs on.
type Typist struct {
	Cmd    *exec.Cmd
	t      testing.TB
	master *os.File
	done   chan struct{}

	mu   sync.Mutex
	said bytes.Buffer // protected by mu
	seen int          // protected by mu: how much of said was waited for
}

// Sit starts a command on a new terminal of 33 lines and 99 columns.
func Sit(t testing.TB, cmd *exec.Cmd) *Typist {
	t.Helper()
	master, slave := Terminal(t)
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setpgid = false
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	y := &Typist{Cmd: cmd, t: t, master: master, done: make(chan struct{})}
	go func() {
		defer close(y.done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			y.mu.Lock()
			y.said.Write(buf[:n])
			y.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { master.Close() })
	return y
}

// Type types.
func (y *Typist) Type(text string) {
	y.t.Helper()
	if _, err := y.master.WriteString(text); err != nil {
		y.t.Fatal(err)
	}
}

// Resize gives the terminal another size.
func (y *Typist) Resize(rows, columns uint16) {
	y.t.Helper()
	if err := unix.IoctlSetWinsize(int(y.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		y.t.Fatal(err)
	}
}

// Await waits until a text has come after the one that was last waited for.
func (y *Typist) Await(text string) {
	y.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		y.mu.Lock()
		rest := y.said.String()[y.seen:]
		at := strings.Index(rest, text)
		if at >= 0 {
			y.seen += at + len(text)
		}
		y.mu.Unlock()
		if at >= 0 {
			return
		}
		if time.Now().After(deadline) {
			y.t.Fatalf("waited for %q in vain, in %q", text, rest)
		}
	}
}

// End waits for the end of the command and gives its exit code and all that
// was shown.
func (y *Typist) End() (code int, said string) {
	y.t.Helper()
	_ = y.Cmd.Wait()
	select {
	case <-y.done:
	case <-time.After(10 * time.Second):
		y.t.Error("somebody keeps the terminal")
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.Cmd.ProcessState.ExitCode(), y.said.String()
}
