package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// Patience is how long one command of a test may take.
const Patience = 10 * time.Minute

// User is somebody who runs commands.
type User struct {
	Name     string
	UID, GID int
	Env      []string // beyond the few that every command gets

	mu   sync.Mutex
	home string
}

// Root is the superuser; the test needs to be run by root.
func Root(t testing.TB) *User {
	t.Helper()
	require.Root(t)
	return &User{Name: "root"}
}

// Unprivileged is the test user when the tests run as root, else who runs them.
func Unprivileged(t testing.TB) *User {
	t.Helper()
	require.FUSE(t)
	u, err := user.Current()
	if os.Geteuid() == 0 {
		u, err = require.User(t), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &User{Name: u.Username, UID: uid, GID: gid}
}

// dirs counts the directories that were given out.
var dirs atomic.Int32

// Dir is a new directory of the user's, gone after the test.
func (u *User) Dir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(base, strconv.Itoa(int(dirs.Add(1))))
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, u.UID, u.GID)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("PLYFS_KEEP") != "" {
			t.Log("kept ", dir)
		} else if err := removeTree(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Home is the user's home directory for the whole test process: the real one
// stays as it is.
func (u *User) Home(t testing.TB) string {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.home == "" {
		home := filepath.Join(base, "home-"+u.Name)
		run := filepath.Join(home, "run")
		if err := errors.Join(os.MkdirAll(run, 0o700), os.Chown(home, u.UID, u.GID), os.Chown(run, u.UID, u.GID)); err != nil {
			t.Fatal(err)
		}
		u.home = home
	}
	return u.home
}

// Command is a command of the user's with a small, known environment.
func (u *User) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	home := u.Home(t)
	cmd.Dir = home
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home, "XDG_RUNTIME_DIR=" + home + "/run", "USER=" + u.Name,
		"LANG=C.UTF-8", "TMPDIR=/var/tmp", "BIN=" + Binary(t), runVar + "=" + base,
	}, u.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 && u.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A daemon that keeps our pipe open would hang its caller: an error here.
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Run runs a shell script as the user and gives its standard output. A script
// that fails ends the test and shows what it said.
func (u *User) Run(t testing.TB, script string, env ...string) string {
	t.Helper()
	return u.RunIn(t, NoNamespace, script, env...)
}

// RunIn is Run in new namespaces.
func (u *User) RunIn(t testing.TB, ns Namespace, script string, env ...string) string {
	t.Helper()
	args := append(ns.command(), "bash", "-euo", "pipefail", "-c", script)
	cmd := u.Command(t, args[0], args[1:]...)
	cmd.Env = append(cmd.Env, env...)
	var out, all transcript
	all.also = &out
	cmd.Stdout = &all
	cmd.Stderr = writerFunc(all.plain)
	if err := cmd.Run(); err != nil {
		t.Fatalf("as %s%s: %v\n%s\n---- output\n%s", u.Name, ns, err, strings.TrimSpace(script), tail(all.String(), 100))
	}
	return out.String()
}

// transcript collects output from several goroutines; what comes by Write
// goes to another one, too.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
	also *transcript
}

func (w *transcript) Write(p []byte) (int, error) {
	if w.also != nil {
		_, _ = w.also.plain(p)
	}
	return w.plain(p)
}

func (w *transcript) plain(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// writerFunc makes an io.Writer of a function.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// tail is the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{"…"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
