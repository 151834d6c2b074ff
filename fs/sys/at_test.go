package sys

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	s := newSpace(t)
	before := openFDs(t)
	for _, c := range []struct {
		name  string
		flags int
		want  syscall.Errno
	}{
		{"f", unix.O_RDONLY, 0},
		{"d", unix.O_RDONLY, 0},
		{"absent", unix.O_RDONLY, unix.ENOENT},
		{"l", unix.O_RDONLY, unix.ELOOP},
		{"l", unix.O_RDWR | unix.O_CREAT, unix.ELOOP},
		{"dangling", unix.O_RDWR | unix.O_CREAT, unix.ELOOP},
		{"dl", unix.O_RDONLY | unix.O_DIRECTORY, unix.ENOTDIR},
		{"l", unix.O_PATH, 0},
		{long255, unix.O_RDWR | unix.O_CREAT, 0},
		{long256, unix.O_RDWR | unix.O_CREAT, unix.ENAMETOOLONG},
		{"f", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"", unix.O_RDONLY, unix.ENOENT},
	} {
		fd, e := Open(s.fd, c.name, c.flags, 0o600)
		if e != c.want || (fd < 0) != (e != 0) {
			t.Errorf("%.10s %#x: %d, %v, want %v", c.name, c.flags, fd, e, c.want)
		}
		if e == 0 {
			if fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s is inherited", c.name)
			}
			Close(fd)
		}
	}
	if Exists(s.fd, "nowhere") {
		t.Error("a link was followed")
	}
	for name, want := range map[string]syscall.Errno{"d": 0, "dl": unix.ENOTDIR, "f": unix.ENOTDIR} {
		fd, e := OpenDir(s.fd, name)
		if e != want {
			t.Errorf("OpenDir %s: %v", name, e)
		}
		if e == 0 {
			Close(fd)
		}
	}
	fd, e := OpenTmp(s.fd, unix.O_RDWR, 0o600)
	if e != 0 {
		t.Fatal(e)
	}
	if n, e := Pwrite(fd, []byte("tmp"), 0); n != 3 || e != 0 {
		t.Error(n, e)
	}
	if e := LinkFD(fd, s.fd, "named"); e != 0 || s.content("named") != "tmp" {
		t.Error(e)
	}
	if e := LinkFD(fd, s.fd, "f"); e != unix.EEXIST {
		t.Error(e)
	}
	Close(fd)
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

func TestOpenBeneath(t *testing.T) {
	withWithout(t, func(t *testing.T) {
		s := newSpace(t)
		s.file("d/e/deep", "deep")
		outside := t.TempDir()
		for name, target := range map[string]string{"d/up": "../..", "d/out": outside, "d/e/abs": "/", "d/e/f": "../../f"} {
			if err := os.Symlink(target, s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		before := openFDs(t)
		const dir = unix.O_PATH | unix.O_DIRECTORY
		for _, c := range []struct {
			path  string
			flags int
			want  []syscall.Errno
		}{
			{"f", unix.O_RDONLY, nil},
			{"d/e/deep", unix.O_RDONLY, nil},
			{"d/e", dir, nil},
			{"d//e/./deep", unix.O_RDONLY, nil},
			{".", dir, nil},
			{"absent/x", unix.O_RDONLY, []syscall.Errno{unix.ENOENT}},
			{"d/absent", unix.O_RDONLY, []syscall.Errno{unix.ENOENT}},
			{"f/x", unix.O_RDONLY, []syscall.Errno{unix.ENOTDIR}},
			{"d/up/f", unix.O_RDONLY, []syscall.Errno{unix.ELOOP, unix.ENOTDIR}},
			{"d/out", dir, []syscall.Errno{unix.ELOOP, unix.ENOTDIR}},
			{"d/e/abs/etc", dir, []syscall.Errno{unix.ELOOP, unix.ENOTDIR}},
			{"d/e/f", unix.O_RDONLY, []syscall.Errno{unix.ELOOP}},
			{"dl/in", unix.O_RDONLY, []syscall.Errno{unix.ELOOP, unix.ENOTDIR}},
			{"..", dir, []syscall.Errno{unix.EXDEV}},
			{"d/../../x", dir, []syscall.Errno{unix.EXDEV}},
			{"d/" + long256, unix.O_RDONLY, []syscall.Errno{unix.ENAMETOOLONG}},
			{"d/" + long255, unix.O_RDONLY, []syscall.Errno{unix.ENOENT}},
		} {
			fd, e := OpenBeneath(s.fd, c.path, c.flags)
			ok := len(c.want) == 0 && e == 0
			for _, w := range c.want {
				ok = ok || e == w
			}
			if !ok {
				t.Errorf("%.20s: %v, want %v", c.path, e, c.want)
			}
			if e == 0 {
				Close(fd)
			}
		}
		// Longer than PATH_MAX: components one by one.
		fd, path := s.fd, ""
		for range 20 {
			if e := Mkdir(fd, long255, 0o755); e != 0 {
				t.Fatal(e)
			}
			next, e := OpenDir(fd, long255)
			if e != 0 {
				t.Fatal(e)
			}
			if fd != s.fd {
				Close(fd)
			}
			fd, path = next, path+long255+"/"
		}
		var a, b Stat
		deep, e := OpenBeneath(s.fd, path[:len(path)-1], dir)
		if e != 0 || StatFD(deep, &a) != 0 || StatFD(fd, &b) != 0 || a.Ino != b.Ino {
			t.Errorf("a path of %d bytes: %v", len(path), e)
		}
		Close(deep)
		Close(fd)
		if n := openFDs(t); n != before {
			t.Errorf("%d descriptors before, %d after", before, n)
		}
		// TempDir can't remove what has such a path.
		for range 20 {
			for k := 0; ; k++ {
				p := strings.Repeat(long255+"/", k)
				d := s.fd
				if k > 0 {
					if d, e = OpenBeneath(s.fd, p[:len(p)-1], dir); e != 0 {
						t.Fatal(e)
					}
				}
				e := Rmdir(d, long255)
				if k > 0 {
					Close(d)
				}
				if e == 0 {
					break
				}
			}
		}
	})
}

func TestNames(t *testing.T) {
	s := newSpace(t)
	for _, n := range []string{"x", "ü", ".hidden", long255} {
		if e := Mkdir(s.fd, n, 0o750); e != 0 {
			t.Error("mkdir", e)
		}
		if e := Mkdir(s.fd, n, 0o750); e != unix.EEXIST {
			t.Error("mkdir again", e)
		}
		if e := Unlink(s.fd, n); e != unix.EISDIR {
			t.Error("unlink of a directory", e)
		}
		if e := Rename(s.fd, n, s.fd, "moved", 0); e != 0 {
			t.Error("rename", e)
		}
		if e := Rmdir(s.fd, "moved"); e != 0 {
			t.Error("rmdir", e)
		}
		if e := Mknod(s.fd, n, unix.S_IFIFO|0o600, 0); e != 0 || s.lstat(n).Mode != unix.S_IFIFO|0o600 {
			t.Error("mknod", e)
		}
		if e := Link(s.fd, n, s.fd, "second"); e != 0 || s.lstat(n).Nlink != 2 {
			t.Error("link", e)
		}
		if e := Rename(s.fd, n, s.fd, "second", unix.RENAME_NOREPLACE); e != unix.EEXIST {
			t.Error("rename", e)
		}
		if e := Unlink(s.fd, n); e != 0 {
			t.Error("unlink", e)
		}
		if e := Symlink("tar/get", s.fd, n); e != 0 {
			t.Error("symlink", e)
		}
		if s, e := Readlink(s.fd, n); e != 0 || s != "tar/get" {
			t.Error("readlink", s, e)
		}
		if !Exists(s.fd, n) || Exists(s.fd, n+"x") {
			t.Error("exists")
		}
		if e := Rename(s.fd, n, s.fd, "second", unix.RENAME_EXCHANGE); e != 0 || s.lstat(n).Mode&unix.S_IFMT != unix.S_IFIFO {
			t.Error("exchange", e)
		}
		_, _ = Unlink(s.fd, n), Unlink(s.fd, "second")
	}
	for what, e := range map[string]syscall.Errno{
		"mkdir": Mkdir(s.fd, long256, 0o755), "mknod": Mknod(s.fd, long256, unix.S_IFIFO, 0), "unlink": Unlink(s.fd, long256),
		"rmdir": Rmdir(s.fd, long256), "rename": Rename(s.fd, long256, s.fd, "x", 0), "rename to": Rename(s.fd, "f", s.fd, long256, 0),
		"link": Link(s.fd, "f", s.fd, long256), "symlink": Symlink("x", s.fd, long256), "stat": StatAt(s.fd, long256, &Stat{}),
		"chmod": Chmod(s.fd, long256, 0), "chown": Chown(s.fd, long256, -1, -1), "utimes": Utimes(s.fd, long256, unix.Timespec{}, unix.Timespec{}),
	} {
		if e != unix.ENAMETOOLONG {
			t.Errorf("%s: %v", what, e)
		}
	}
}

// A link is itself: nothing that is done to it reaches what it points to.
func TestLinksAreNotFollowed(t *testing.T) {
	withWithout(t, func(t *testing.T) {
		s := newSpace(t)
		f := s.lstat("f")
		var st Stat
		if e := StatAt(s.fd, "l", &st); e != 0 || st.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Errorf("stat: %v %o", e, st.Mode)
		}
		if e := Chmod(s.fd, "l", 0o777); e != unix.EOPNOTSUPP {
			t.Errorf("chmod: %v", e)
		}
		if e := Link(s.fd, "l", s.fd, "l2"); e != 0 || s.lstat("l2").Ino != s.lstat("l").Ino {
			t.Errorf("link: %v", e)
		}
		if e := Unlink(s.fd, "l2"); e != 0 {
			t.Error(e)
		}
		when := unix.Timespec{Sec: 12345}
		if e := Utimes(s.fd, "l", when, when); e != 0 || s.lstat("l").Mtim.Sec != 12345 {
			t.Errorf("utimes: %v", e)
		}
		if os.Geteuid() == 0 {
			if e := Chown(s.fd, "l", 77, 88); e != 0 || s.lstat("l").Uid != 77 || s.lstat("l").Gid != 88 {
				t.Errorf("chown: %v", e)
			}
			if e := SetXattr(s.fd, "l", "trusted.t", []byte("v"), 0); e != 0 {
				t.Errorf("setxattr: %v", e)
			}
			if v, e := ReadXattr(s.fd, "l", "trusted.t"); e != 0 || string(v) != "v" {
				t.Errorf("getxattr: %q %v", v, e)
			}
			fd := s.open("l", unix.O_PATH)
			if v, e := ReadXattr(fd, "", "trusted.t"); e != 0 || string(v) != "v" {
				t.Errorf("getxattr of the descriptor: %q %v", v, e)
			}
			if l, e := ListXattrs(fd, ""); e != 0 || string(l) != "trusted.t\x00" {
				t.Errorf("listxattr: %q %v", l, e)
			}
			if e := RemoveXattr(s.fd, "l", "trusted.t"); e != 0 {
				t.Errorf("removexattr: %v", e)
			}
		}
		if e := SetXattr(s.fd, "l", "user.t", []byte("v"), 0); e != unix.EPERM {
			t.Errorf("user xattr on a link: %v", e)
		}
		if target, e := Readlink(s.open("l", unix.O_PATH), ""); e != 0 || target != "f" {
			t.Errorf("readlink of a descriptor: %q %v", target, e)
		}
		if _, _, e := Handle(s.fd, "l"); e == 0 {
			_, a, _ := Handle(s.fd, "l")
			_, b, _ := Handle(s.fd, "f")
			if string(a) == string(b) {
				t.Error("the handle is of the target")
			}
		}
		if now := s.lstat("f"); now != f {
			t.Errorf("the target has changed: %+v, was %+v", now, f)
		}
	})
}

func TestLongTarget(t *testing.T) {
	s := newSpace(t)
	for _, n := range []int{1, 255, 256, 257, 1023, 1024, 4095} {
		target := strings.Repeat("t", n)
		if e := Symlink(target, s.fd, "long"); e != 0 {
			t.Fatal(n, e)
		}
		if got, e := Readlink(s.fd, "long"); e != 0 || got != target {
			t.Errorf("%d: %d bytes, %v", n, len(got), e)
		}
		_ = Unlink(s.fd, "long")
	}
}
