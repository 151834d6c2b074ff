package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// step is a line that is typed, after a text was waited for.
type step struct{ await, line string }

// prompt is what nothing but the shell says.
const prompt = "❯ "

func parse(text string) ([]step, error) {
	var steps []step
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		await, answer, ok := strings.Cut(strings.TrimPrefix(line, "> "), " ")
		switch {
		case strings.HasPrefix(line, "#") || line == "":
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{prompt, line[2:]})
		case strings.HasPrefix(line, "> ") && ok:
			steps = append(steps, step{await, answer})
		default:
			return nil, fmt.Errorf("session.txt: %q begins with none of #, $ and >", line)
		}
	}
	return steps, nil
}

// event is what came at a time.
type event struct {
	at   time.Duration
	text []byte
}

// take is a recording that goes on.
type take struct {
	begin time.Time

	mu     sync.Mutex
	events []event      // protected by mu
	said   bytes.Buffer // protected by mu: what the next await looks through
}

// record has a shell of an ordinary user say and do what the steps are. Root
// watches the tests' user do it.
func record(bin string, steps []step) ([]event, error) {
	home, err := os.MkdirTemp("/var/tmp", "plyfs-cast.")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	sh := exec.Command("bash", "--noprofile", "--norc", "--noediting", "-i")
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("plytest")
		if err != nil {
			return nil, fmt.Errorf("%w (make setup makes the user)", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(home, uid, gid); err != nil {
			return nil, err
		}
		sh.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	programs, err := os.MkdirTemp("/var/tmp", "plyfs-cast-bin.")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(programs)
	if err := os.Chmod(programs, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"plyfs", "plyfs-image"} {
		data, err := os.ReadFile(filepath.Join(bin, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(programs, name), data, 0o755)
		}
		if err != nil {
			return nil, err
		}
	}
	sh.Dir = home
	sh.Env = []string{
		"PATH=" + programs + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "PLYFS_ROOT=" + home + "/store",
		"XDG_RUNTIME_DIR=" + home, "TERM=xterm", "LANG=C.UTF-8", "PS1=" + prompt, "HISTFILE=",
	}
	t := &take{begin: time.Now()}
	return t.events, errors.Join(t.play(sh, steps), cleared(home))
}

// cleared says whether the session took away what it had mounted.
func cleared(home string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && bytes.Contains(mounts, []byte(home)) {
		err = errors.New("the session left a mount below " + home)
	}
	return err
}

func (t *take) play(sh *exec.Cmd, steps []step) error {
	master, slave, err := terminal()
	if err != nil {
		return err
	}
	defer master.Close()
	sh.Stdin, sh.Stdout, sh.Stderr = slave, slave, slave
	if err := sh.Start(); err != nil {
		slave.Close()
		return err
	}
	slave.Close()
	go t.listen(master)
	for _, s := range append(steps, step{prompt, ""}) {
		if err := t.await(s.await); err != nil {
			_ = sh.Process.Kill()
			_ = sh.Wait()
			return err
		}
		if s.line == "" {
			break
		}
		// Word by word, as somebody types who knows what he wants.
		for _, word := range strings.SplitAfter(s.line, " ") {
			if _, err := master.WriteString(word); err != nil {
				return err
			}
			time.Sleep(60 * time.Millisecond)
		}
		if _, err := master.WriteString("\n"); err != nil {
			return err
		}
	}
	_ = sh.Process.Signal(syscall.SIGHUP)
	_ = sh.Wait()
	return nil
}

func (t *take) listen(master *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		if n > 0 {
			t.mu.Lock()
			t.events = append(t.events, event{time.Since(t.begin), bytes.Clone(buf[:n])})
			t.said.Write(buf[:n])
			t.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (t *take) await(text string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		t.mu.Lock()
		said := t.said.String()
		at := strings.Index(said, text)
		if at >= 0 {
			t.said.Next(at + len(text))
		}
		t.mu.Unlock()
		if at >= 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited a minute for %q, in %q", text, said)
		}
	}
}

func terminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
