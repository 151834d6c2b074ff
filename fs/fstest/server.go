package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// server is a plyfs process that serves one mount.
type server struct {
	dir  string
	cmd  *exec.Cmd // nil when it went to the background by itself
	log  *os.File
	done chan struct{}
	err  error
}

// Binary is the plyfs command: $PLYFS_BIN, or built from this module, once.
func Binary(t testing.TB) string {
	t.Helper()
	p, err := plyfsBinary()
	if err != nil {
		require.Missing(t, "the plyfs binary: %v", err)
	}
	return p
}

var (
	binaryDir   string
	plyfsBinary = sync.OnceValues(buildBinary)
)

func buildBinary() (string, error) {
	if p := os.Getenv("PLYFS_BIN"); p != "" {
		return p, nil
	}
	dir, err := os.MkdirTemp("", "plyfs-bin-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "plyfs")
	cmd := exec.Command("go", "build", "-o", out, "github.com/plyfs/plyfs/cmd/plyfs")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, b)
	}
	return out, os.Chmod(out, 0o755)
}

// plyfsCommand runs a verb of the binary to its end.
func plyfsCommand(args ...string) error {
	bin, err := plyfsBinary()
	if err != nil {
		return err
	}
	b, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("plyfs %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(b))
	}
	return nil
}

// plyfs starts a server for the stack and returns when the mount answers.
func (m *Mount) plyfs() (*server, error) {
	if m.v.Daemon && os.Getenv("PLYFS_TRACE") == "" {
		s := &server{dir: m.Dir}
		return s, plyfsCommand("mount", "-o", m.options(), m.Dir)
	}
	bin, err := plyfsBinary()
	if err != nil {
		return nil, err
	}
	s := &server{dir: m.Dir, done: make(chan struct{})}
	logs, trace := filepath.Dir(m.Dir), os.Getenv("PLYFS_TRACE")
	if trace != "" {
		logs = trace
	}
	s.log, err = os.CreateTemp(logs, m.v.Name+"-")
	if err != nil {
		return nil, err
	}
	args := []string{"mount", "-f", "-o", m.options(), m.Dir}
	if trace != "" {
		args = append([]string{"mount", "-d"}, args[1:]...)
	}
	s.cmd = exec.Command(bin, args...)
	if m.files > 0 {
		script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, m.files)
		s.cmd = exec.Command("sh", append([]string{"-c", script, bin}, args...)...)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	before := device(m.Dir)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	for range 2000 {
		select {
		case <-s.done:
			return nil, fmt.Errorf("plyfs %s: %v\n%s", strings.Join(args, " "), s.err, s.output())
		case <-time.After(5 * time.Millisecond):
		}
		if d := device(m.Dir); d != 0 && d != before {
			return s, nil
		}
	}
	s.cmd.Process.Kill()
	<-s.done
	return nil, fmt.Errorf("plyfs %s: no mount after 10 s\n%s", strings.Join(args, " "), s.output())
}

// output is what the server said, or the end of it.
func (s *server) output() string {
	if s == nil || s.log == nil {
		return ""
	}
	const most = 64 << 10
	st, err := s.log.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(st.Size(), most))
	n, _ := s.log.ReadAt(b, st.Size()-int64(len(b)))
	return string(b[:n])
}

// wait waits for the server's end; one that stays is killed, and that is an
// error.
func (s *server) wait(d time.Duration) error {
	if s.cmd == nil {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if len(serversOf(s.dir)) == 0 {
				return nil
			}
		}
		return fmt.Errorf("processes %v still serve %s after the unmount", serversOf(s.dir), s.dir)
	}
	defer s.log.Close()
	select {
	case <-s.done:
		if s.err != nil {
			return fmt.Errorf("plyfs: %w\n%s", s.err, s.output())
		}
		return nil
	case <-time.After(d):
		s.cmd.Process.Kill()
		<-s.done
		return errors.New("plyfs had to be killed after the unmount\n" + s.output())
	}
}

// PIDs are the processes that serve the mount.
func (s *server) pids() []int {
	if s.cmd != nil {
		return []int{s.cmd.Process.Pid}
	}
	return serversOf(s.dir)
}

// serversOf finds processes whose command line names a directory at or below
// dir and that run a binary called plyfs.
func serversOf(dir string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		argv := strings.Split(string(b), "\x00")
		if !strings.Contains(filepath.Base(argv[0]), "plyfs") {
			continue
		}
		for _, a := range argv[1:] {
			if a == dir || strings.HasPrefix(a, dir+"/") {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
