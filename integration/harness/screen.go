package harness

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// Screen is a terminal whose picture is looked at: a command on a pseudo terminal,
// and an emulator that draws what it writes and answers what it asks.
type Screen struct {
	Cmd    *exec.Cmd
	t      testing.TB
	master *os.File
	drawn  *vt.SafeEmulator
}

// Watch starts a command on a screen of 24 lines and 100 columns.
func Watch(t testing.TB, cmd *exec.Cmd) *Screen {
	t.Helper()
	master, slave := Terminal(t)
	defer slave.Close()
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = false
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Screen{Cmd: cmd, t: t, master: master, drawn: vt.NewSafeEmulator(100, 24)}
	t.Cleanup(func() { master.Close() })
	go func() { _, _ = io.Copy(s.drawn, master) }()
	go func() { _, _ = io.Copy(master, s.drawn) }()
	return s
}

// Keys presses keys.
func (s *Screen) Keys(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// Shows waits until all words are on the screen, and none of those with a !
// before them.
func (s *Screen) Shows(words ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		text, ok := s.drawn.String(), true
		for _, w := range words {
			w, not := strings.CutPrefix(w, "!")
			ok = ok && strings.Contains(text, w) != not
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			_ = s.Cmd.Process.Kill()
			_ = s.Cmd.Wait()
			s.t.Fatalf("waited for %q in vain, on\n%s", words, text)
		}
	}
}
