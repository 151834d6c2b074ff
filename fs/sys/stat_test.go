package sys

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

func TestStat(t *testing.T) {
	s := newSpace(t)
	for _, n := range []string{"f", "d", "l", "p", "dangling"} {
		var a, b, c Stat
		want := s.lstat(n)
		if e := StatAt(s.fd, n, &a); e != 0 || a != want {
			t.Errorf("%s: %v %+v", n, e, a)
		}
		fd := s.open(n, unix.O_PATH)
		if e := StatFD(fd, &b); e != 0 || b != want {
			t.Errorf("%s by descriptor: %v %+v", n, e, b)
		}
		if e := StatAt(fd, "", &c); e != 0 || c != want {
			t.Errorf("%s by empty name: %v %+v", n, e, c)
		}
		if sec, _, ok := Btime(s.fd, n); ok {
			if s2, _, _ := Btime(fd, ""); s2 != sec || sec == 0 {
				t.Errorf("%s: born %d and %d", n, sec, s2)
			}
		}
		if MountID(s.fd, n) != MountID(fd, "") {
			t.Errorf("%s: on two mounts", n)
		}
	}
	var st Stat
	if e := StatAt(s.fd, "absent", &st); e != unix.ENOENT {
		t.Error(e)
	}
	if e := StatFD(-1, &st); e != unix.EBADF {
		t.Error(e)
	}
	if _, _, ok := Btime(s.fd, "absent"); ok || MountID(s.fd, "absent") != 0 {
		t.Error("attributes of nothing")
	}
	var fs unix.Statfs_t
	if e := Statfs(s.fd, &fs); e != 0 || fs.Bsize == 0 {
		t.Error(e)
	}
}

func TestChmod(t *testing.T) {
	withWithout(t, func(t *testing.T) {
		s := newSpace(t)
		before := openFDs(t)
		for name, mode := range map[string]uint32{"f": 0o4711, "d": 0o1770, "p": 0o622} {
			if e := Chmod(s.fd, name, mode); e != 0 || s.lstat(name).Mode&0o7777 != mode {
				t.Errorf("%s: %v, mode %o", name, e, s.lstat(name).Mode)
			}
			fd, e := Open(s.fd, name, unix.O_PATH, 0)
			if e != 0 {
				t.Fatal(e)
			}
			if e := Chmod(fd, "", 0o640); e != 0 || s.lstat(name).Mode&0o7777 != 0o640 {
				t.Errorf("%s by an O_PATH descriptor: %v", name, e)
			}
			Close(fd)
		}
		if e := Chmod(s.fd, "absent", 0o600); e != unix.ENOENT {
			t.Error(e)
		}
		if n := openFDs(t); n != before {
			t.Errorf("%d descriptors before, %d after", before, n)
		}
	})
	s := newSpace(t)
	fd := s.open("f", unix.O_RDONLY)
	if e := ChmodFD(fd, 0o611); e != 0 || s.lstat("f").Mode&0o7777 != 0o611 {
		t.Error(e)
	}
}

func TestChown(t *testing.T) {
	require.Root(t)
	s := newSpace(t)
	for i, name := range []string{"f", "d", "l", "p"} {
		if e := Chown(s.fd, name, 100+i, -1); e != 0 {
			t.Error(e)
		}
		fd := s.open(name, unix.O_PATH)
		if e := Chown(fd, "", -1, 200+i); e != 0 {
			t.Error(e)
		}
		if st := s.lstat(name); int(st.Uid) != 100+i || int(st.Gid) != 200+i {
			t.Errorf("%s: %d:%d", name, st.Uid, st.Gid)
		}
	}
	if e := ChownFD(s.open("f", unix.O_RDONLY), 5, 6); e != 0 || s.lstat("f").Uid != 5 {
		t.Error(e)
	}
}

func TestUtimes(t *testing.T) {
	s := newSpace(t)
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	for i, name := range []string{"f", "d", "l", "p"} {
		ts := unix.NsecToTimespec(int64(1000+i)*1e9 + 123456789)
		if e := Utimes(s.fd, name, ts, omit); e != 0 {
			t.Error(name, e)
		}
		if e := Utimes(s.open(name, unix.O_PATH), "", omit, ts); e != 0 {
			t.Error(name, e)
		}
		if st := s.lstat(name); st.Atim != ts || st.Mtim != ts {
			t.Errorf("%s: %+v %+v", name, st.Atim, st.Mtim)
		}
	}
	ts := unix.Timespec{Sec: 7}
	if e := UtimesFD(s.open("f", unix.O_RDONLY), ts, ts); e != 0 || s.lstat("f").Mtim != ts {
		t.Error(e)
	}
	if e := Utimes(s.fd, "f", omit, unix.Timespec{Nsec: unix.UTIME_NOW}); e != 0 || s.lstat("f").Mtim.Sec < 1e9 || s.lstat("f").Atim != ts {
		t.Error(e)
	}
	if e := Utimes(s.fd, "absent", ts, ts); e != unix.ENOENT {
		t.Error(e)
	}
}

func TestXattr(t *testing.T) {
	withWithout(t, func(t *testing.T) {
		s := newSpace(t)
		if e := SetXattr(s.fd, "f", "user.probe", nil, 0); e == unix.EOPNOTSUPP {
			require.Missing(t, "user xattrs on the temporary directory's filesystem")
		}
		_ = RemoveXattr(s.fd, "f", "user.probe")
		before := openFDs(t)
		big := make([]byte, 1000)
		for i := range big {
			big[i] = byte(i)
		}
		for _, name := range []string{"f", "d"} {
			path := s.open(name, unix.O_PATH)
			real := s.open(name, unix.O_RDONLY)
			for _, w := range []struct {
				dir  int
				name string
			}{{s.fd, name}, {path, ""}, {real, ""}} {
				if l, e := ListXattrs(w.dir, w.name); e != 0 || len(l) != 0 {
					t.Errorf("list of none: %q %v", l, e)
				}
				if e := SetXattr(w.dir, w.name, "user.a", []byte("one"), unix.XATTR_CREATE); e != 0 {
					t.Errorf("set %s %q: %v", name, w.name, e)
				}
				if e := SetXattr(w.dir, w.name, "user.a", []byte("x"), unix.XATTR_CREATE); e != unix.EEXIST {
					t.Error(e)
				}
				if e := SetXattr(w.dir, w.name, "user.none", []byte("x"), unix.XATTR_REPLACE); e != unix.ENODATA {
					t.Error(e)
				}
				if e := SetXattr(w.dir, w.name, "user.empty", nil, 0); e != 0 {
					t.Error(e)
				}
				if e := SetXattr(w.dir, w.name, "user.big", big, 0); e != 0 {
					t.Error(e)
				}
				var buf [16]byte
				if n, e := GetXattr(w.dir, w.name, "user.a", buf[:]); e != 0 || string(buf[:n]) != "one" {
					t.Errorf("get: %q %v", buf[:n], e)
				}
				if n, e := GetXattr(w.dir, w.name, "user.a", nil); e != 0 || n != 3 {
					t.Errorf("size: %d %v", n, e)
				}
				if _, e := GetXattr(w.dir, w.name, "user.a", buf[:2]); e != unix.ERANGE {
					t.Error(e)
				}
				if _, e := GetXattr(w.dir, w.name, "user.b", buf[:]); e != unix.ENODATA {
					t.Error(e)
				}
				if v, e := ReadXattr(w.dir, w.name, "user.big"); e != 0 || string(v) != string(big) {
					t.Errorf("%d bytes, %v", len(v), e)
				}
				if v, e := ReadXattr(w.dir, w.name, "user.empty"); e != 0 || len(v) != 0 {
					t.Errorf("%q %v", v, e)
				}
				l, e := ListXattrs(w.dir, w.name)
				if n, _ := ListXattr(w.dir, w.name, nil); e != 0 || n != len(l) || len(l) != len("user.a.user.empty.user.big.") {
					t.Errorf("list: %q %v", l, e)
				}
				if _, e := ListXattr(w.dir, w.name, buf[:3]); e != unix.ERANGE {
					t.Error(e)
				}
				for _, a := range []string{"user.a", "user.empty", "user.big"} {
					if e := RemoveXattr(w.dir, w.name, a); e != 0 {
						t.Error(e)
					}
				}
				if e := RemoveXattr(w.dir, w.name, "user.a"); e != unix.ENODATA {
					t.Error(e)
				}
			}
		}
		long := "user." + long256
		for what, e := range map[string]syscall.Errno{
			"set": SetXattr(s.fd, "f", long, nil, 0), "remove": RemoveXattr(s.fd, "f", long),
		} {
			if e != unix.ERANGE {
				t.Errorf("%s of a long name: %v", what, e)
			}
		}
		if e := SetXattr(s.fd, "absent", "user.a", nil, 0); e != unix.ENOENT {
			t.Error(e)
		}
		if _, e := GetXattr(-1, "", "user.a", nil); e == 0 {
			t.Error("an xattr of nothing")
		}
		if n := openFDs(t); n != before+4 {
			t.Errorf("%d descriptors before, %d after", before+4, n)
		}
	})
}

// The calls that every request makes leave no garbage.
func TestNoAllocation(t *testing.T) {
	s := newSpace(t)
	_ = SetXattr(s.fd, "f", "user.a", []byte("v"), 0)
	f, d := s.open("f", unix.O_RDWR), s.open("d", unix.O_PATH)
	var st Stat
	var buf [64]byte
	for name, fn := range map[string]func(){
		"StatAt":        func() { _ = StatAt(s.fd, "f", &st) },
		"StatAt absent": func() { _ = StatAt(s.fd, "absent", &st) },
		"StatAt long":   func() { _ = StatAt(s.fd, long255, &st) },
		"StatFD":        func() { _ = StatFD(f, &st) },
		"Open":          func() { fd, _ := Open(s.fd, "f", unix.O_PATH, 0); Close(fd) },
		"Pread":         func() { _, _ = Pread(f, buf[:], 0) },
		"Pwrite":        func() { _, _ = Pwrite(f, buf[:1], 0) },
		"Rename":        func() { _ = Rename(s.fd, "f", s.fd, "g", 0); _ = Rename(s.fd, "g", s.fd, "f", 0) },
		"Mkdir":         func() { _ = Mkdir(s.fd, "new", 0o755); _ = Rmdir(s.fd, "new") },
		"Link":          func() { _ = Link(s.fd, "f", s.fd, "h"); _ = Unlink(s.fd, "h") },
		"Exists":        func() { _ = Exists(s.fd, "f") },
		"Utimes":        func() { _ = Utimes(s.fd, "f", unix.Timespec{}, unix.Timespec{}) },
	} {
		if n := testing.AllocsPerRun(100, fn); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if !HasXattrat {
		return
	}
	for name, fn := range map[string]func(){
		"GetXattr":        func() { _, _ = GetXattr(s.fd, "f", "user.a", buf[:]) },
		"GetXattr absent": func() { _, _ = GetXattr(s.fd, "f", "security.capability", buf[:]) },
		"GetXattr O_PATH": func() { _, _ = GetXattr(d, "", "user.a", buf[:]) },
		"ListXattr":       func() { _, _ = ListXattr(d, "", buf[:]) },
	} {
		if n := testing.AllocsPerRun(100, fn); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
