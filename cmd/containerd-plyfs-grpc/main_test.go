package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"golang.org/x/sys/unix"
)

// asProgram makes this test binary the program itself; it is in the
// environment, so that the servers that a daemon starts are it as well.
const asProgram = "PLYFS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Exit(os.Stderr, program, run(os.Args[1:])))
	}
	os.Exit(m.Run())
}

// self is the program with these arguments.
func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = program
	cmd.Env = append(os.Environ(), asProgram+"=1", "PLYFS_SNAPSHOTTER_CONFIG=/dev/null")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// running is a daemon that was started.
type running struct {
	cmd    *exec.Cmd
	socket string
	state  string
	log    *lockedBuffer
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startDaemon starts one with everything below dir and waits until it serves.
func startDaemon(dir string, args ...string) (*running, error) {
	r := &running{socket: filepath.Join(dir, "s.sock"), state: filepath.Join(dir, "state"), log: new(lockedBuffer)}
	r.cmd = self(append([]string{
		"--address", r.socket, "--root", filepath.Join(dir, "root"), "--state", r.state,
	}, args...)...)
	pipe, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	serving := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(pipe, r.log))
		for lines.Scan() {
			if strings.Contains(lines.Text(), "msg=serving") {
				serving <- true
			}
		}
		close(serving)
	}()
	select {
	case ok := <-serving:
		if ok {
			return r, nil
		}
		_ = r.cmd.Wait()
		return nil, fmt.Errorf("the daemon ended: %s", r.log)
	case <-time.After(30 * time.Second):
		_ = r.cmd.Process.Kill()
		return nil, fmt.Errorf("the daemon serves nothing after 30 s: %s", r.log)
	}
}

// stop ends the daemon as systemd does, and its servers by taking their mounts
// away.
func (r *running) stop() error {
	err := r.cmd.Process.Signal(unix.SIGTERM)
	if e := r.cmd.Wait(); err == nil {
		err = e
	}
	points, _ := filepath.Glob(r.state + "/m/*")
	for _, p := range points {
		_ = unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return err
}
