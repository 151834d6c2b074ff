package union

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

func lstat(t testing.TB, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(path, err)
	}
	return st
}

func TestCopyUpKeepsAll(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", strings.Repeat("data", 5000))
	f := e.path("lower1/d/f")
	if os.Geteuid() == 0 {
		if err := os.Chown(f, 1234, 5678); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(f, 0o6751); err != nil {
		t.Fatal(err)
	}
	e.setxattr("lower1/d/f", "user.key", "value")
	old := []unix.Timespec{{Sec: 1000, Nsec: 1}, {Sec: 2000, Nsec: 2}}
	for _, p := range []string{"lower1/d/f", "lower1/d"} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, e.path(p), old, 0); err != nil {
			t.Fatal(err)
		}
	}
	lower := lstat(t, f)
	e.open()
	before := e.c.walk("d/f")
	dir := e.c.attr(e.c.id("d"))
	var a Attr
	// ctime and atime aside, a chmod to what it is changes nothing.
	e.c.check("setattr", e.fs.SetAttr(caller, before.Node, &AttrChange{Valid: SetMode, Mode: 0o6751}, &a))
	after := before.Attr
	after.Ctime, after.Blocks, after.Atime = a.Ctime, a.Blocks, a.Atime
	if a != after {
		t.Errorf("before %+v\nafter  %+v", before.Attr, a)
	}
	st := lstat(t, e.path("upper/d/f"))
	if st.Mode != lower.Mode || st.Uid != lower.Uid || st.Gid != lower.Gid || st.Mtim != lower.Mtim || st.Size != lower.Size {
		t.Errorf("upper %+v\nlower %+v", st, lower)
	}
	if d := e.c.attr(e.c.id("d")); d.Mtime != dir.Mtime || d.Ino != dir.Ino {
		t.Errorf("directory before %+v\nafter  %+v", dir, d)
	}
	buf := make([]byte, 10)
	if n, errno := e.fs.GetXattr(before.Node, "user.key", buf); errno != 0 || string(buf[:n]) != "value" {
		t.Errorf("xattr %q %v", buf[:n], errno)
	}
	if now := lstat(t, f); now != lower && now.Atim == lower.Atim {
		t.Errorf("the lower file has changed")
	}
	if e.c.read(before.Node) != strings.Repeat("data", 5000) {
		t.Error("content")
	}
	e.workEmpty()
	e.reopen()
	if again := e.c.walk("d/f"); again.Attr.Ino != before.Attr.Ino {
		t.Errorf("inode %d, after a remount %d", before.Attr.Ino, again.Attr.Ino)
	}
}

// A truncation copies no more than is left.
func TestCopyUpTruncate(t *testing.T) {
	for _, size := range []uint64{0, 1, 4096, 10000, 30000} {
		e := newEnv(t, 1)
		e.file("lower1/f", strings.Repeat("x", 20000))
		e.open()
		f := e.c.id("f")
		var a Attr
		e.c.check("truncate", e.fs.SetAttr(caller, f, &AttrChange{Valid: SetSize, Size: size}, &a))
		if a.Size != size {
			t.Errorf("size %d, want %d", a.Size, size)
		}
		want := strings.Repeat("x", int(min(size, 20000))) + strings.Repeat("\x00", int(size-min(size, 20000)))
		if e.c.read(f) != want {
			t.Errorf("content at %d", size)
		}
		if st := lstat(t, e.path("lower1/f")); st.Size != 20000 {
			t.Error("the lower file was cut")
		}
	}
}

func TestCopyUpKinds(t *testing.T) {
	e := newEnv(t, 1)
	e.mkdir("lower1/d")
	if err := os.Symlink("some/target", e.path("lower1/d/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(e.path("lower1/d/fifo"), 0o640); err != nil {
		t.Fatal(err)
	}
	e.open()
	for _, n := range []string{"link", "fifo"} {
		x := e.c.walk("d/" + n)
		var a Attr
		ch := AttrChange{Valid: SetMtime | SetAtime, Mtime: Time{Sec: 77}, Atime: Time{Sec: 78}}
		e.c.check("utimes "+n, e.fs.SetAttr(caller, x.Node, &ch, &a))
		if a.Mode != x.Attr.Mode || a.Ino != x.Attr.Ino || a.Mtime.Sec != 77 {
			t.Errorf("%s: %+v", n, a)
		}
	}
	if s, errno := e.fs.Readlink(e.c.id("d/link")); errno != 0 || s != "some/target" {
		t.Errorf("%q %v", s, errno)
	}
	link := e.c.id("d/link")
	var a Attr
	if errno := e.fs.SetAttr(caller, link, &AttrChange{Valid: SetMode, Mode: 0o600}, &a); errno != unix.EOPNOTSUPP {
		t.Errorf("chmod of a link: %v", errno)
	}
}

// A time of the kernel's own copies nothing up.
func TestNoCopyUpForKernelTimes(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/f", "x")
	e.open()
	f := e.c.walk("f")
	var a Attr
	e.c.check("setattr", e.fs.SetAttr(caller, f.Node, &AttrChange{Valid: SetMtime | SetCtime, Mtime: f.Attr.Mtime}, &a))
	e.c.check("setattr", e.fs.SetAttr(caller, f.Node, &AttrChange{Valid: SetCtime}, &a))
	e.c.check("fsync", e.fs.Fsync(f.Node, false))
	if errno := e.fs.RemoveXattr(f.Node, "user.none"); errno != unix.ENODATA {
		t.Errorf("removexattr: %v", errno)
	}
	if up := e.onDisk("upper"); len(up) != 0 {
		t.Errorf("copied up: %v", up)
	}
}

// Many writers at once make one copy, and none of them loses its bytes.
func TestCopyUpOnce(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/a/b/f", strings.Repeat(".", 1<<20))
	e.open()
	f := e.c.id("a/b/f")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, errno := e.fs.Write(f, []byte{byte('a' + i)}, int64(i), nil); errno != 0 {
				t.Error(errno)
			}
		}()
	}
	wg.Wait()
	buf := make([]byte, 17)
	_, _ = e.fs.Read(f, buf, 0)
	if string(buf) != "abcdefghijklmnop." {
		t.Errorf("%q", buf)
	}
	e.workEmpty()
}

// What is open when it is removed goes on to be read and written, and the
// lower file is never touched.
func TestUnlinkedLower(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", "content")
	e.open()
	f := e.c.id("d/f")
	d := e.c.id("d")
	e.c.unlink("d/f")
	if s := e.c.read(f); s != "content" {
		t.Errorf("%q", s)
	}
	if a := e.c.attr(f); a.Nlink != 0 {
		t.Errorf("nlink %d", a.Nlink)
	}
	e.c.rmdir("d")
	e.c.write(f, "CON", 0)
	if s := e.c.read(f); s != "CONtent" {
		t.Errorf("%q", s)
	}
	if a := e.c.attr(f); a.Nlink != 0 {
		t.Errorf("nlink %d after the write", a.Nlink)
	}
	if b, _ := os.ReadFile(e.path("lower1/d/f")); string(b) != "content" {
		t.Errorf("lower: %q", b)
	}
	if up := e.onDisk("upper"); len(up) != 1 || !isWhiteout(e.path("upper/d")) {
		t.Errorf("upper: %v", up)
	}
	var en Entry
	if errno := e.fs.Create(caller, d, "x", 0o644, 0, &en); errno != unix.ENOENT {
		t.Errorf("create in a removed directory: %v", errno)
	}
	e.c.forgetAll()
	if left := e.onDisk("work/work"); len(left) > 1 { // but the shared whiteout
		t.Errorf("left: %v", left)
	}
}

func TestUnlinkedUpper(t *testing.T) {
	e := newEnv(t, 1).open()
	f := e.c.create("f", 0o600)
	e.c.write(f, "data", 0)
	e.c.unlink("f")
	g := e.c.create("f", 0o600)
	if f == g {
		t.Fatal("one node")
	}
	e.c.write(g, "other", 0)
	e.fs.fds.shrink()
	if s := e.c.read(f); s != "data" || e.c.attr(f).Nlink != 0 {
		t.Errorf("%q %+v", s, e.c.attr(f))
	}
	e.c.forget(f)
	e.workEmpty()
	h := e.c.create("h", 0o600)
	e.c.rename("h", "f") // over g, that is open
	if s := e.c.read(g); s != "other" || e.c.attr(g).Nlink != 0 {
		t.Errorf("%q %+v", s, e.c.attr(g))
	}
	if e.c.id("f") != h {
		t.Error("the renamed file has another node")
	}
	e.c.forgetAll()
	e.workEmpty()
}

func TestTmpfile(t *testing.T) {
	e := newEnv(t, 1)
	e.mkdir("lower1/d")
	e.open()
	d := e.c.id("d")
	var a, b Entry
	e.c.check("tmpfile", e.fs.Tmpfile(&Caller{UID: 7, GID: 8, Umask: 0o27}, d, 0o666, 0, &a))
	e.c.got(a.Node)
	if a.Attr.Nlink != 0 || a.Attr.Mode != unix.S_IFREG|0o640 || os.Geteuid() == 0 && (a.Attr.UID != 7 || a.Attr.GID != 8) {
		t.Errorf("%+v", a.Attr)
	}
	e.c.write(a.Node, "tmp", 0)
	e.c.check("tmpfile", e.fs.Tmpfile(caller, d, 0o600, 0, &b))
	e.c.got(b.Node)
	if e.c.link(a.Node, "d/name") != a.Node {
		t.Error("another node after the link")
	}
	if e.c.content("d/name") != "tmp" || e.c.attr(a.Node).Nlink != 1 {
		t.Errorf("%+v", e.c.attr(a.Node))
	}
	e.c.forgetAll()
	e.workEmpty()
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes", n)
	}
	if e.c.content("d/name") != "tmp" || len(e.c.list(e.c.id("d"), 9)) != 1 {
		t.Error(e.c.tree())
	}
	_ = node.Root
}
