//go:build !cgo

// With cgo the runtime does not know all threads, and no program of ours is built with it.

package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConfined: what the server of a root gives up, on threads that were there
// before as on new ones, and that it can do what it has to.
func TestConfined(t *testing.T) {
	if os.Getenv("PLYFS_TEST_CONFINED") != "" {
		confined(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestConfined$", "-test.v")
	cmd.Env = append(os.Environ(), "PLYFS_TEST_CONFINED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n--- PASS: TestConfined") {
		t.Errorf("%v\n%s", err, out)
	}
}

func confined(t *testing.T) {
	dir := t.TempDir()
	var before, after sync.WaitGroup
	begin := make(chan bool)
	for range 4 { // threads of their own
		before.Add(1)
		after.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before.Done()
			<-begin
			tryAll(t, dir)
		})
	}
	before.Wait()
	if err := confine(); err != nil {
		t.Fatal(err)
	}
	close(begin)
	for range 4 {
		after.Go(func() { runtime.LockOSThread(); tryAll(t, dir) }) // and its thread ends
	}
	after.Wait()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatal(err)
	}
	for _, name := range tasks {
		status, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // ended
		}
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapInh:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s lacks %q: %v", name, want, err)
			}
		}
	}
}

// tryAll tries what is refused and what isn't.
func tryAll(t *testing.T, dir string) {
	for what, try := range map[string]func() error{
		"execve": func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"socket": func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"mount":  func() error { return unix.Mount("", dir, "tmpfs", 0, "") },
		"chroot": func() error { return unix.Chroot(dir) },
		"fork":   func() error { return exec.Command("/bin/true").Run() },
		"ptrace": func() error { return unix.PtraceAttach(os.Getppid()) },
		"handle": func() error { _, err := unix.OpenByHandleAt(0, unix.NewFileHandle(1, make([]byte, 8)), 0); return err },
		"userns": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"bpf":    func() error { _, _, e := unix.Syscall(unix.SYS_BPF, 0, 0, 0); return e },
	} {
		if err := try(); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want %v", what, err, unix.EPERM)
		}
	}
	name := filepath.Join(dir, fmt.Sprint(unix.Gettid()))
	f, err := os.Create(name)
	if err != nil {
		t.Error(err)
		return
	}
	_, err = f.WriteString("x")
	if err = errors.Join(err, f.Chown(os.Getuid(), os.Getgid()), f.Chmod(0o600), f.Sync(), f.Close(), os.Rename(name, name+"2"), os.Remove(name+"2")); err != nil {
		t.Error(err)
	}
}
