package sys

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// copyOut copies a file of the space and gives the copy's content.
func copyOut(t *testing.T, s *space, size int64) (string, Stat, int64) {
	t.Helper()
	in := s.open("in", unix.O_RDONLY)
	_ = os.Remove(s.path("out"))
	out := s.open("out", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	moved, e := CopyFile(out, in, size, nil)
	if e != 0 {
		t.Fatal(e)
	}
	return s.content("out"), s.lstat("out"), moved
}

func TestCopyFile(t *testing.T) {
	s := newSpace(t)
	for _, n := range []int{0, 1, 4095, 4096, 4097, copyChunk - 1, copyChunk, copyChunk + 1, 3*copyChunk + 5} {
		data := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
		s.file("in", string(data))
		for _, size := range []int{0, 1, n / 2, n - 1, n, n + 10000} {
			if size < 0 {
				continue
			}
			got, _, _ := copyOut(t, s, int64(size))
			if got != string(data[:min(size, n)]) {
				t.Errorf("%d of %d: %d bytes", size, n, len(got))
			}
		}
	}
}

func TestCopyFileHoles(t *testing.T) {
	s := newSpace(t)
	const mb = 1 << 20
	for name, data := range map[string][]int64{
		"all":    {},
		"start":  {8 * mb},
		"end":    {0},
		"middle": {0, 8 * mb},
		"odd":    {mb + 12345, 5*mb + 17},
	} {
		s.file("in", "")
		in := s.open("in", unix.O_RDWR)
		for _, off := range data {
			if _, e := Pwrite(in, []byte(name), off); e != 0 {
				t.Fatal(e)
			}
		}
		if e := Truncate(in, 16*mb+3); e != 0 {
			t.Fatal(e)
		}
		for _, size := range []int64{16*mb + 3, 16 * mb, mb, 8*mb + 2} {
			got, st, moved := copyOut(t, s, size)
			if want := s.content("in")[:size]; got != want {
				t.Errorf("%s: other content at %d", name, size)
			}
			if st.Blocks*512 > int64(len(data)+1)*65536 || moved > int64(len(data))*65536 {
				t.Errorf("%s: %d bytes on disk, %d moved", name, st.Blocks*512, moved)
			}
		}
	}
}

// On a file system without anything: no SEEK_DATA, no copy_file_range to
// another file system.
func TestCopyFileAcross(t *testing.T) {
	s := newSpace(t)
	out, err := unix.MemfdCreate("copy", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(out)
	data := bytes.Repeat([]byte("x"), 2*copyChunk+100)
	s.file("in", string(data))
	moved, e := CopyFile(out, s.open("in", unix.O_RDONLY), int64(len(data)), nil)
	got := make([]byte, len(data)+1)
	if n, _ := Pread(out, got, 0); e != 0 || n != len(data) || moved != int64(n) || !bytes.Equal(got[:n], data) {
		t.Errorf("%d bytes, %d moved, %v", n, moved, e)
	}
}

func TestCopyFileStops(t *testing.T) {
	s := newSpace(t)
	s.file("in", strings.Repeat("x", 5*copyChunk))
	in, out := s.open("in", unix.O_RDONLY), s.open("f", unix.O_RDWR|unix.O_TRUNC)
	n := 0
	moved, e := CopyFile(out, in, 4*copyChunk, func() bool { n++; return n > 2 })
	if e != unix.EINTR || moved != 2*copyChunk {
		t.Errorf("%d moved, %v", moved, e)
	}
	if _, e := CopyFile(-1, in, 10, nil); e != unix.EBADF {
		t.Error(e)
	}
	if _, e := CopyFile(out, -1, 10, nil); e != unix.EBADF {
		t.Error(e)
	}
}

// The file changes its length while it is copied.
func TestCopyFileMoving(t *testing.T) {
	s := newSpace(t)
	for _, grow := range []bool{true, false} {
		s.file("in", strings.Repeat("x", 4*copyChunk+100))
		in, out := s.open("in", unix.O_RDWR), s.open("f", unix.O_RDWR|unix.O_TRUNC)
		n := 0
		_, e := CopyFile(out, in, 4*copyChunk+50, func() bool {
			if n++; n == 2 && grow {
				_ = Truncate(in, 9*copyChunk)
			} else if n == 2 {
				_ = Truncate(in, 2*copyChunk+7)
			}
			return false
		})
		var st Stat
		_ = StatFD(out, &st)
		want := int64(4*copyChunk + 50)
		if e != 0 || grow && st.Size != want || !grow && st.Size > want {
			t.Errorf("grow %v: %d bytes, %v", grow, st.Size, e)
		}
	}
}

func TestData(t *testing.T) {
	s := newSpace(t)
	fd := s.open("f", unix.O_RDWR)
	buf := make([]byte, 10)
	if n, e := Pread(fd, buf, 1); e != 0 || string(buf[:n]) != "ello" {
		t.Errorf("%q %v", buf[:n], e)
	}
	if n, e := Pread(fd, buf, 100); n != 0 || e != 0 {
		t.Error(n, e)
	}
	if n, e := Pwrite(fd, []byte("HE"), 0); n != 2 || e != 0 {
		t.Error(n, e)
	}
	ro := s.open("f", unix.O_RDONLY)
	if _, e := Pwrite(ro, []byte("x"), 0); e != unix.EBADF {
		t.Error(e)
	}
	for what, e := range map[string]syscall.Errno{
		"fsync": Fsync(fd), "fdatasync": Fdatasync(fd), "truncate": Truncate(fd, 3), "fallocate": Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 100),
	} {
		if e != 0 {
			t.Errorf("%s: %v", what, e)
		}
	}
	if s.content("f") != "HEl" && s.content("f") != "HEL" {
		t.Errorf("%q", s.content("f"))
	}
	if r, e := Lseek(fd, 0, unix.SEEK_HOLE); e != 0 || r != 3 {
		t.Error(r, e)
	}
	if _, e := Lseek(fd, 3, unix.SEEK_DATA); e != unix.ENXIO {
		t.Error(e)
	}
	s.file("g", "")
	g := s.open("g", unix.O_RDWR)
	if n, e := CopyRange(fd, 1, g, 5, 10); e != 0 || n != 2 || s.content("g") != "\x00\x00\x00\x00\x00El" {
		t.Errorf("%d %v %q", n, e, s.content("g"))
	}
	if f, e := GetFlags(fd); e == 0 {
		const nodump = 0x40
		if e := SetFlags(fd, f|nodump); e == 0 {
			if f, _ := GetFlags(fd); f&nodump == 0 {
				t.Errorf("flags %#x", f)
			}
		}
	}
	if a, b := FSUUID(fd), FSUUID(g); a != b {
		t.Error("two UUIDs on one file system")
	}
	if typ, fid, e := Handle(fd, ""); e == 0 {
		if typ2, fid2, e := Handle(s.fd, "f"); e != 0 || typ != typ2 || !bytes.Equal(fid, fid2) {
			t.Error("two handles of one file")
		}
	}
}

func TestReadDir(t *testing.T) {
	s := newSpace(t)
	want := map[string]uint8{"f": unix.DT_REG, "d": unix.DT_DIR, "l": unix.DT_LNK, "dl": unix.DT_LNK, "dangling": unix.DT_LNK, "p": unix.DT_FIFO}
	for i := range 500 {
		n := fmt.Sprintf("%s%03d", strings.Repeat("x", i%250), i)
		s.file(n, "")
		want[n] = unix.DT_REG
	}
	s.file(long255, "")
	want[long255] = unix.DT_REG
	fd := s.open("", unix.O_RDONLY|unix.O_DIRECTORY)
	for _, size := range []int{300, 1024, 32 << 10} {
		got := map[string]uint8{}
		e := ReadDir(fd, make([]byte, size), func(name string, ino uint64, typ uint8) bool {
			if st := s.lstat(strings.Clone(name)); st.Ino != ino {
				t.Errorf("%s: inode %d, want %d", name, ino, st.Ino)
			}
			got[strings.Clone(name)] = typ
			return true
		})
		if e != 0 || len(got) != len(want) {
			t.Errorf("%d names of %d: %v", len(got), len(want), e)
		}
		for n, typ := range got {
			if typ != want[n] {
				t.Errorf("%.20s: type %d", n, typ)
			}
		}
		if e := Rewind(fd); e != 0 {
			t.Error(e)
		}
	}
	n := 0
	if e := ReadDir(fd, make([]byte, 32<<10), func(string, uint64, uint8) bool { n++; return n < 3 }); e != 0 || n != 3 {
		t.Errorf("%d names, %v", n, e)
	}
	if e := ReadDir(s.open("f", unix.O_RDONLY), make([]byte, 1024), nil); e != unix.ENOTDIR {
		t.Error(e)
	}
	// What is removed while it is listed does no harm.
	_ = Rewind(fd)
	e := ReadDir(fd, make([]byte, 4096), func(name string, _ uint64, typ uint8) bool {
		if typ == unix.DT_REG {
			_ = Unlink(s.fd, name)
		}
		return true
	})
	if e != 0 {
		t.Error(e)
	}
	var left []string
	_ = Rewind(fd)
	_ = ReadDir(fd, make([]byte, 4096), func(name string, _ uint64, _ uint8) bool {
		left = append(left, strings.Clone(name))
		return true
	})
	if slices.Sort(left); !slices.Equal(left, []string{"d", "dangling", "dl", "l", "p"}) {
		t.Errorf("left: %v", left)
	}
}
