package nsfork

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// target is a process in namespaces of its own.
func target(t *testing.T) *exec.Cmd {
	t.Helper()
	require.UserNS(t)
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// TestStart fails loudly when a new Go breaks what this package links to.
func TestStart(t *testing.T) {
	busybox, err := os.Open(require.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	defer busybox.Close()
	to := target(t)
	pidfd, err := unix.PidfdOpen(to.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	const flags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC
	start := func(out *os.File, script string) int {
		pid, err := Start(&Command{
			PidFD: pidfd, Namespaces: flags, Root: true, Program: int(busybox.Fd()),
			Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin", "WORD=said"},
			Files: []int{int(out.Fd()), int(out.Fd()), int(out.Fd())},
		})
		if err != nil {
			t.Fatal(err)
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
			t.Fatal(err)
		}
		return ws.ExitStatus()
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if code := start(w, "echo $WORD; echo $PPID; id -u; exit 7"); code != 7 {
		t.Errorf("exit code %d", code)
	}
	w.Close()
	buf := make([]byte, 1000)
	n, _ := r.Read(buf)
	got := strings.Fields(string(buf[:n]))
	if strings.Join(got, " ") != "said 0 0" { // its parent is not of its pid namespace
		t.Errorf("%q", got)
	}
	// Many at once, with the garbage collector running.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.GC()
			if code := start(null, "exit "+strconv.Itoa(i)); code != i {
				t.Errorf("%d ended with %d", i, code)
			}
		}()
	}
	wg.Wait()
}

func TestErrors(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, err = Start(&Command{PidFD: int(null.Fd()), Namespaces: unix.CLONE_NEWUTS, Program: int(null.Fd()), Args: []string{"x"}, Env: []string{"A=b"}})
	if err == nil || !strings.Contains(err.Error(), "setns") {
		t.Errorf("no pidfd: %v", err)
	}
}
