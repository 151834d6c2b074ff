package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Stand is where one case is tried: layers on a tmpfs of its own, and a plyfs
// process that is watched.
type Stand struct {
	*testing.T
	Dir         string // holds everything
	Mnt         string
	Upper, Work string
	UserNS      bool
	// KernelOptions are more mount options for the kernel to compare with.
	KernelOptions string

	bin  string
	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// patience is how long any one question to the mount may take.
const patience = 60 * time.Second

// NewStand makes the directories, not the layers.
func NewStand(t *testing.T, bin string, userNS bool) *Stand {
	s := &Stand{T: t, bin: bin, UserNS: userNS}
	var err error
	// Not t.TempDir: the test's name has commas in it.
	if s.Dir, err = os.MkdirTemp("", "plyfs-hostile-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(s.Dir) })
	nsbox.Tmpfs(t, s.Dir, "mode=755")
	s.Mnt, s.Upper, s.Work = s.Mkdir("mnt"), s.Mkdir("upper"), s.Mkdir("work")
	t.Cleanup(s.end)
	return s
}

// Path is a path below the stand.
func (s *Stand) Path(p string) string { return filepath.Join(s.Dir, p) }

// Mkdir makes a directory, and those above it, and gives its path.
func (s *Stand) Mkdir(p string) string {
	s.Helper()
	s.must(os.MkdirAll(s.Path(p), 0o755))
	return s.Path(p)
}

// Write makes a file, and the directories above it.
func (s *Stand) Write(p, text string) string {
	s.Helper()
	s.Mkdir(filepath.Dir(p))
	s.must(os.WriteFile(s.Path(p), []byte(text), 0o644))
	return s.Path(p)
}

// Xattr sets one of overlayfs' xattrs, in the namespace that this stand's mount
// uses.
func (s *Stand) Xattr(p, name, value string) {
	s.Helper()
	s.must(unix.Lsetxattr(s.Path(p), s.Prefix()+name, []byte(value), 0))
}

// Prefix is that of overlayfs' xattrs.
func (s *Stand) Prefix() string {
	if s.UserNS {
		return "user.overlay."
	}
	return "trusted.overlay."
}

func (s *Stand) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Options is the option text for lowers, top first, with the stand's upper.
func (s *Stand) Options(lowers []string, extra ...string) string {
	var full []string
	for _, l := range lowers {
		full = append(full, s.Path(l))
	}
	o := []string{"lowerdir=" + strings.Join(full, ":"), "upperdir=" + s.Upper, "workdir=" + s.Work}
	if s.UserNS {
		o = append(o, "userxattr")
	}
	return strings.Join(append(o, extra...), ",")
}

// Mount mounts the lowers, top first, under the stand's upper, and serves them
// till Unmount.
func (s *Stand) Mount(lowers []string, extra ...string) {
	s.Helper()
	s.must(s.TryMount(s.Options(lowers, extra...)))
}

// TryMount is Mount with the option text given, and with an error.
func (s *Stand) TryMount(options string) error {
	var err error
	if s.log, err = os.CreateTemp(s.Dir, "log-"); err != nil {
		return err
	}
	s.cmd = exec.Command(s.bin, "mount", "-f", "-o", options, s.Mnt)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(s.cmd, s.done)
	for start := time.Now(); !s.Mounted(); {
		select {
		case err := <-s.done:
			s.cmd = nil
			return fmt.Errorf("plyfs mount -o %s: %w: %s", options, err, s.words())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(start) > patience {
			return fmt.Errorf("plyfs mount -o %s: no mount after %v: %s", options, patience, s.words())
		}
	}
	return nil
}

// Mounted says whether something is mounted on the stand's mount point.
func (s *Stand) Mounted() bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && bytes.Contains(b, []byte(" "+s.Mnt+" "))
}

// words are what the server wrote.
func (s *Stand) words() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-16<<10):]))
}

// PID is the server's.
func (s *Stand) PID() int { return s.cmd.Process.Pid }

// Unmount unmounts, and wants the server to end by itself, content, with its
// work directory tidy.
func (s *Stand) Unmount() {
	s.Helper()
	s.Alive()
	s.within("unmount", func() error { return unix.Unmount(s.Mnt, 0) })
	select {
	case err := <-s.done:
		if err != nil {
			s.Errorf("the server ended with %v: %s", err, s.words())
		}
	case <-time.After(patience):
		s.Errorf("the server goes on after the unmount")
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
	if ents, err := treedump.ReadDir(filepath.Join(s.Work, "work")); err == nil && len(ents) > 0 {
		s.Errorf("left in the work directory: %v", ents)
	}
}

// Alive fails when the server has ended or does not answer.
func (s *Stand) Alive() {
	s.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		s.Fatalf("the server died: %v: %s", err, s.words())
	default:
	}
	s.within("readdir of the root", func() error {
		_, err := treedump.ReadDir(s.Mnt)
		return err
	})
}

// within does something to the mount, and ends the server when it takes too
// long: whoever waits gets an error then. It fails on any error.
func (s *Stand) within(what string, do func() error) {
	s.Helper()
	if err := s.Ask(what, do); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// Ask is within, but gives the error.
func (s *Stand) Ask(what string, do func() error) error {
	s.Helper()
	result := make(chan error, 1)
	go func() { result <- do() }()
	select {
	case err := <-result:
		if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) {
			s.Fatalf("%s: the server is dead: %s", what, s.words())
		}
		return err
	case <-time.After(patience):
		_ = s.cmd.Process.Signal(unix.SIGQUIT) // it tells its stacks
		time.Sleep(time.Second)
		s.Fatalf("%s: no answer after %v: %s", what, patience, s.words())
		return nil
	}
}

// Picture is the whole tree of the mount. Contradictions in it are failures.
func (s *Stand) Picture() *treedump.Tree {
	s.Helper()
	var tree *treedump.Tree
	s.within("a picture of the mount", func() (err error) {
		tree, err = treedump.Take(s.Mnt)
		return err
	})
	for _, p := range tree.Problems {
		s.Errorf("the mount contradicts itself: %s", p)
	}
	return tree
}

// end is the last clean-up: nothing of a failed case stays.
func (s *Stand) end() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	for s.Mounted() && unix.Unmount(s.Mnt, unix.MNT_DETACH) == nil {
	}
	// The tmpfs is busy while an exe or a log in it is.
	if s.log != nil {
		s.log.Close()
	}
}
