package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// stand is a union whose upper is on a file system that can fail.
type stand struct {
	t        *testing.T
	dir, mnt string
	disk     string // that file system
}

// big is the lower file that is copied up.
var big = bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB

func newStand(t *testing.T) *stand {
	t.Helper()
	require.Root(t)
	require.FUSE(t)
	s := &stand{t: t, dir: harness.Root(t).Dir(t)}
	s.mnt, s.disk = filepath.Join(s.dir, "mnt"), filepath.Join(s.dir, "disk")
	for _, d := range []string{"lower/d", "disk", "mnt", "inner/lower", "inner/upper", "inner/work"} {
		s.ok(os.MkdirAll(filepath.Join(s.dir, d), 0o755))
	}
	for _, f := range []string{"big", "d/big"} {
		s.ok(os.WriteFile(filepath.Join(s.dir, "lower", f), big, 0o644))
	}
	s.ok(os.WriteFile(filepath.Join(s.dir, "lower/small"), []byte("small"), 0o644))
	return s
}

func (s *stand) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// tmpfs makes the disk one.
func (s *stand) tmpfs(options string) {
	s.t.Helper()
	s.ok(unix.Mount("disk", s.disk, "tmpfs", 0, options))
	s.t.Cleanup(func() { s.ok(unix.Unmount(s.disk, 0)) })
}

// failing makes the disk a plyfs that fails once, at the n-th write.
func (s *stand) failing(e unix.Errno, n int) {
	s.t.Helper()
	in := filepath.Join(s.dir, "inner")
	cmd := exec.Command(harness.Binary(s.t), "mount", "-o", fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,writeback=off", in, in, in), s.disk)
	cmd.Env = append(os.Environ(), fmt.Sprintf("PLYFS_FAIL=write:%d:%d", int(e), n))
	s.run(cmd)
	s.t.Cleanup(func() { s.run(exec.Command(harness.Binary(s.t), "umount", s.disk)) })
}

func (s *stand) run(cmd *exec.Cmd) {
	s.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// mount mounts the union with its upper on the disk.
func (s *stand) mount(more string) {
	s.t.Helper()
	for _, d := range []string{"upper", "work"} {
		s.ok(os.Mkdir(filepath.Join(s.disk, d), 0o755))
	}
	o := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work%s", s.dir, s.disk, s.disk, more)
	s.run(exec.Command(harness.Binary(s.t), "mount", "-o", o, s.mnt))
	s.t.Cleanup(func() { s.run(exec.Command(harness.Binary(s.t), "umount", s.mnt)) })
}

// whole fails unless the lower files are shown as they are, but for those named.
func (s *stand) whole(but ...string) {
	s.t.Helper()
	for _, f := range []string{"big", "d/big"} {
		b, err := os.ReadFile(filepath.Join(s.mnt, f))
		if err != nil || len(but) == 0 && !bytes.Equal(b, big) {
			s.t.Errorf("%s: %d bytes, %v", f, len(b), err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(s.mnt, "small")); err != nil || string(b) != "small" {
		s.t.Errorf("small: %q, %v", b, err)
	}
	if left, err := os.ReadDir(filepath.Join(s.disk, "work/work")); err != nil || len(left) > 1 { // the whiteout to link
		s.t.Errorf("left in the work directory: %v, %v", left, err)
	}
}

// write replaces a file's first bytes, and gives the first error that anything of
// it tells.
func (s *stand) write(name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(s.mnt, name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Sync(); err == nil {
		err = e
	}
	return errors.Join(err, f.Close())
}

// refused fails unless the error is that one.
func (s *stand) refused(what string, err error, want unix.Errno) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// TestFull: a disk that is full says so, and everything goes on when there is
// room.
func TestFull(t *testing.T) {
	for _, more := range []string{"", ",writeback=off"} {
		s := newStand(t)
		s.tmpfs("size=600k,nr_inodes=40")
		s.mount(more)
		// The byte that is there already: the kernel's cache keeps what it
		// couldn't write.
		s.refused("a copy-up of more than there is", s.write("big", big[:1]), unix.ENOSPC)
		s.whole()
		s.refused("too long a new file", s.write("new", big), unix.ENOSPC)
		s.ok(os.Remove(filepath.Join(s.mnt, "new")))
		var err error
		for i := 0; err == nil && i < 100; i++ {
			err = os.Mkdir(fmt.Sprintf("%s/dir%d", s.mnt, i), 0o755)
		}
		s.refused("too many directories", err, unix.ENOSPC)
		s.whole()
		for i := range 40 {
			if err := os.Remove(fmt.Sprintf("%s/dir%d", s.mnt, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
		s.ok(s.write("new", []byte("there is room again")))
		s.ok(s.write("small", []byte("s")))
		s.refused("a directory with more in it than there is room", os.Rename(filepath.Join(s.mnt, "d"), filepath.Join(s.mnt, "e")), unix.ENOSPC)
	}
}

// TestReadOnly: the disk has an error, and its file system goes read-only under
// the mount.
func TestReadOnly(t *testing.T) {
	s := newStand(t)
	img := filepath.Join(s.dir, "img")
	s.ok(os.WriteFile(img, nil, 0o600))
	s.ok(os.Truncate(img, 32<<20))
	s.run(exec.Command(require.Tool(t, "mkfs.ext4"), "-q", img))
	s.run(exec.Command("mount", "-o", "loop,errors=remount-ro", img, s.disk))
	t.Cleanup(func() { s.run(exec.Command("umount", s.disk)) })
	s.mount(",writeback=off")
	s.ok(s.write("before", []byte("before")))
	dev, err := exec.Command("findmnt", "-no", "SOURCE", s.disk).Output()
	s.ok(err)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(dev))), "trigger_fs_error")
	s.ok(os.WriteFile(trigger, []byte("a test"), 0o200))
	s.refused("a copy-up", s.write("big", []byte("x")), unix.EROFS)
	s.refused("a new file", s.write("new", []byte("x")), unix.EROFS)
	s.refused("mkdir", os.Mkdir(filepath.Join(s.mnt, "dir"), 0o755), unix.EROFS)
	s.refused("unlink", os.Remove(filepath.Join(s.mnt, "small")), unix.EROFS)
	s.refused("rename", os.Rename(filepath.Join(s.mnt, "before"), filepath.Join(s.mnt, "after")), unix.EROFS)
	s.refused("chmod", os.Chmod(filepath.Join(s.mnt, "big"), 0o600), unix.EROFS)
	s.whole()
	if b, err := os.ReadFile(filepath.Join(s.mnt, "before")); err != nil || string(b) != "before" {
		t.Errorf("before: %q, %v", b, err)
	}
}

// TestDiskFails: an error of one write in a copy-up, or of one to a file, is told
// and has changed nothing else.
func TestDiskFails(t *testing.T) {
	for _, e := range []unix.Errno{unix.EIO, unix.EDQUOT, unix.ENOSPC} {
		for n := 1; n <= 2; n++ {
			s := newStand(t)
			s.failing(e, n)
			s.mount(",writeback=off")
			var err error
			if n == 2 { // the first write is this one's
				s.ok(s.write("new", []byte("text")))
			}
			err = s.write("big", []byte("x"))
			s.refused(fmt.Sprintf("write %d", n), err, e)
			s.whole()
			s.ok(s.write("d/big", []byte("x")))
			s.ok(s.write("big", []byte("x")))
			b, err := os.ReadFile(filepath.Join(s.mnt, "big"))
			if err != nil || len(b) != len(big) || b[0] != 'x' || !bytes.Equal(b[1:], big[1:]) {
				t.Errorf("big afterwards: %d bytes, %v", len(b), err)
			}
		}
	}
}
