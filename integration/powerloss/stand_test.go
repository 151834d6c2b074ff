package powerloss

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
	"github.com/plyfs/plyfs/fs/fstest/writelog"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) {
	writelog.ServeIfAsked()
	harness.Main(m)
}

// stand is a union whose upper is on a disk that keeps a log of its writes.
type stand struct {
	t    *testing.T
	dir  string
	disk *writelog.Disk
	mnt  string

	states []*treedump.Tree // the view before the first operation, and after each
	at     []int            // where the log was then
	synced []int            // the operations, counted from 1, that end with an fsync
}

// diskOptions leave the disk's file system nothing to write on its own account: no
// times, no data early, no initialisation in the background, no commit in between.
const diskOptions = "loop,noatime,noauto_da_alloc,noinit_itable,commit=600"

var big = bytes.Repeat([]byte("good old data, "), 10000) // 150 KB

func newStand(t *testing.T) *stand {
	t.Helper()
	require.Root(t)
	require.FUSE(t)
	require.Overlay(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		require.Missing(t, "loop devices: %v", err)
	}
	s := &stand{t: t, dir: harness.Root(t).Dir(t)}
	s.mnt = s.path("mnt")
	for _, d := range []string{"lower/d/sub", "fuse", "disk", "after", "mnt"} {
		s.ok(os.MkdirAll(s.path(d), 0o755))
	}
	for _, f := range []string{"big", "d/big", "d/sub/big"} {
		s.ok(os.WriteFile(s.path("lower/"+f), big, 0o644))
	}
	for _, f := range []string{"small", "goes", "d/goes", "moves", "covered"} {
		s.ok(os.WriteFile(s.path("lower/"+f), []byte("lower "+f), 0o644))
	}
	img := s.path("img")
	s.ok(os.WriteFile(img, nil, 0o600))
	s.ok(os.Truncate(img, 24<<20))
	s.run(require.Tool(t, "mkfs.ext4"), "-q", "-J", "size=4", "-E", "nodiscard", img)
	content, err := os.ReadFile(img)
	s.ok(err)
	s.disk = writelog.New(t, s.path("fuse"), s.dir, content)
	s.run("mount", "-o", diskOptions, s.disk.Path, s.path("disk"))
	t.Cleanup(func() { s.detach("disk") })
	for _, d := range []string{"disk/upper", "disk/work"} {
		s.ok(os.Mkdir(s.path(d), 0o755))
	}
	s.ok(os.WriteFile(s.path("disk/upper/own"), []byte("upper own"), 0o644))
	unix.Sync()
	return s
}

func (s *stand) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stand) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) run(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func (s *stand) options(disk, more string) string {
	return fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work%s", s.path("lower"), s.path(disk), s.path(disk), more)
}

// plyfs mounts the union whose upper is on one of the disks.
func (s *stand) plyfs(disk, more string) ([]byte, error) {
	return exec.Command(harness.Binary(s.t), "mount", "-o", s.options(disk, more), s.mnt).CombinedOutput()
}

func (s *stand) umount() {
	s.t.Helper()
	s.run(harness.Binary(s.t), "umount", s.mnt)
}

// detach unmounts a disk. The server of a mount that is gone lets go of it in a
// moment.
func (s *stand) detach(disk string) {
	s.t.Helper()
	err := unix.Unmount(s.path(disk), 0)
	for end := time.Now().Add(time.Minute); err == unix.EBUSY && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		err = unix.Unmount(s.path(disk), 0)
	}
	if err != nil {
		s.t.Errorf("unmount %s: %v", disk, err)
	}
}

func (s *stand) picture() *treedump.Tree {
	s.t.Helper()
	tree, err := treedump.Take(s.mnt)
	s.ok(err)
	return tree
}

// operation is one thing that a program does.
type operation struct {
	name    string
	do      func(s *stand) error
	synced  bool   // it has fsynced what it wrote
	created string // a file that is new, and that it fsyncs at its end only
}

// write opens a file, writes at its begin and syncs it.
func write(name, text string, flags int) operation {
	created := ""
	if flags != 0 {
		created = name
	}
	return operation{"write " + name, func(s *stand) error {
		f, err := os.OpenFile(filepath.Join(s.mnt, name), os.O_WRONLY|flags, 0o640)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			return err
		}
		return f.Sync()
	}, true, created}
}

func does(name string, fn func(at func(string) string) error) operation {
	return operation{name, func(s *stand) error {
		return fn(func(p string) string { return filepath.Join(s.mnt, p) })
	}, false, ""}
}

// operations change everything that there is, and sync what they write.
var operations = []operation{
	write("big", "NEW", 0),
	write("new", "what is new", os.O_CREATE|os.O_EXCL),
	does("unlink goes", func(at func(string) string) error { return os.Remove(at("goes")) }),
	does("rename moves", func(at func(string) string) error { return os.Rename(at("moves"), at("d/moved")) }),
	does("chmod d/big", func(at func(string) string) error { return os.Chmod(at("d/big"), 0o600) }),
	write("tmp", "replaces", os.O_CREATE|os.O_EXCL),
	does("rename tmp", func(at func(string) string) error { return os.Rename(at("tmp"), at("covered")) }),
	does("mkdir goes", func(at func(string) string) error { return os.Mkdir(at("goes"), 0o755) }),
	does("symlink", func(at func(string) string) error { return os.Symlink("target", at("goes/link")) }),
	does("link", func(at func(string) string) error { return os.Link(at("small"), at("goes/small")) }),
	does("setxattr", func(at func(string) string) error { return unix.Setxattr(at("d/sub"), "user.x", []byte("1"), 0) }),
	write("own", "UPPER", 0),
	does("truncate", func(at func(string) string) error { return os.Truncate(at("d/sub/big"), 5) }),
	does("unlink d/goes", func(at func(string) string) error { return os.Remove(at("d/goes")) }),
	does("unlink goes/link", func(at func(string) string) error { return os.Remove(at("goes/link")) }),
	does("unlink goes/small", func(at func(string) string) error { return os.Remove(at("goes/small")) }),
	does("rmdir goes", func(at func(string) string) error { return os.Remove(at("goes")) }),
}

// play mounts with the option, does all operations and notes what each has made of
// the view and of the log. between is called after each.
func (s *stand) play(more string, between func(i int)) {
	s.t.Helper()
	if out, err := s.plyfs("disk", more); err != nil {
		s.t.Fatalf("mount: %v\n%s", err, out)
	}
	s.states, s.at = []*treedump.Tree{s.picture()}, []int{s.disk.Len()}
	for i, o := range operations {
		if err := o.do(s); err != nil {
			s.t.Errorf("%s: %v", o.name, err)
		}
		s.at = append(s.at, s.disk.Len())
		between(i)
		s.states = append(s.states, s.picture())
		if o.synced {
			s.synced = append(s.synced, i+1)
		}
	}
}
