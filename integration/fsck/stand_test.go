package fsck

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// stand is an upper directory with what belongs to it.
type stand struct {
	t   *testing.T
	dir string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t, harness.Root(t).Dir(t)}
	for _, d := range []string{"lower", "upper", "work", "mnt"} {
		s.mkdir(d)
	}
	for _, f := range []string{"d/stays", "d/goes", "od/hidden", "od/sub/hidden", "goes", "dir-goes/f", "xw/goes", "xw/stays", "two/f", "con/hidden"} {
		s.file("lower/"+f, "lower "+f)
	}
	return s
}

func (s *stand) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stand) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) mkdir(name string) { s.t.Helper(); s.ok(os.MkdirAll(s.path(name), 0o755)) }

func (s *stand) file(name, text string) {
	s.t.Helper()
	s.mkdir(filepath.Dir(name))
	s.ok(os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *stand) whiteout(name string) {
	s.t.Helper()
	s.mkdir(filepath.Dir(name))
	if err := unix.Mknod(s.path(name), unix.S_IFCHR, 0); err != unix.EEXIST {
		s.ok(err)
	}
}

func (s *stand) xattr(name, attr, value string) {
	s.t.Helper()
	s.ok(unix.Lsetxattr(s.path(name), attr, []byte(value), 0))
}

// old gives everything below a directory times of long ago.
func (s *stand) old(name string) {
	s.t.Helper()
	ts := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	s.ok(filepath.WalkDir(s.path(name), func(path string, _ os.DirEntry, err error) error {
		tv := unix.NsecToTimespec(ts.UnixNano())
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{tv, tv}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

// The readers.
const (
	plyfs   = "plyfs"
	kernel  = "kernel"
	kernelU = "kernel with userxattr"
	fuseOvl = "fuse-overlayfs"
)

// view is what a reader shows of the upper.
func (s *stand) view(reader string) *treedump.Tree {
	s.t.Helper()
	mnt := s.path("mnt")
	o := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", s.path("lower"), s.path("upper"), s.path("work"))
	switch reader {
	case plyfs:
		s.run(exec.Command(harness.Binary(s.t), "mount", "-o", o, mnt))
	case fuseOvl:
		s.run(exec.Command(require.Tool(s.t, "fuse-overlayfs"), "-o", o, mnt))
	case kernelU:
		s.ok(unix.Mount("overlay", mnt, "overlay", 0, o+",userxattr"))
	default:
		s.ok(unix.Mount("overlay", mnt, "overlay", 0, o+",redirect_dir=on,metacopy=on"))
	}
	defer func() {
		err := unix.Unmount(mnt, 0)
		for i := 0; err == unix.EBUSY && i < 100; i++ {
			time.Sleep(10 * time.Millisecond)
			err = unix.Unmount(mnt, 0)
		}
		s.ok(err)
		s.idle()
	}()
	tree, err := treedump.Take(mnt)
	s.ok(err)
	return tree
}

// idle waits until the server of a mount has let go of the upper.
func (s *stand) idle() {
	s.t.Helper()
	fd, err := unix.Open(s.path("upper"), unix.O_RDONLY, 0)
	s.ok(err)
	defer unix.Close(fd)
	s.ok(unix.Flock(fd, unix.LOCK_EX))
	for i := 0; ; i++ {
		out, _ := exec.Command("pgrep", "-f", "upperdir="+s.path("upper")).Output()
		if len(out) == 0 {
			return
		}
		if i == 500 {
			s.t.Fatalf("the server stays: %s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *stand) run(cmd *exec.Cmd) string {
	s.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// fsck runs it on the upper, and gives its exit code, -1 when it was killed.
func (s *stand) fsck(fail string, args ...string) (code int, out string) {
	s.t.Helper()
	cmd := exec.Command(harness.Binary(s.t), append(append([]string{"fsck"}, args...), s.path("upper"))...)
	cmd.Env = append(os.Environ(), "PLYFS_FAIL="+fail)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() && ws.Signal() != syscall.SIGKILL {
		s.t.Fatalf("fsck: %v\n%s", err, b.String())
	}
	return cmd.ProcessState.ExitCode(), b.String()
}

// same fails when two views differ.
func (s *stand) same(what string, want, got *treedump.Tree, ignore treedump.Ignore) {
	s.t.Helper()
	if d := treedump.Diff("before", want, what, got, ignore); len(d) > 0 {
		s.t.Errorf("%s:\n\t%s", what, strings.Join(d, "\n\t"))
	}
}

// objects are the inode numbers and texts of the regular files of the upper that
// hold something, and of lost+found.
func (s *stand) objects() map[uint64]string {
	s.t.Helper()
	all := map[uint64]string{}
	for _, top := range []string{"upper", "work", "lost+found"} {
		err := filepath.WalkDir(s.path(top), func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			var st unix.Stat_t
			b, err := os.ReadFile(path)
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			if len(b) > 0 {
				all[st.Ino] = string(b)
			}
			return err
		})
		if !errors.Is(err, os.ErrNotExist) {
			s.ok(err)
		}
	}
	return all
}
