package fstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dirent is one record of getdents64(2).
type dirent struct {
	ino  uint64
	off  int64
	typ  byte
	name string
}

// dirents is one getdents64 call with a buffer of size bytes.
func (e *Env) dirents(fd, size int) []dirent {
	e.T.Helper()
	buf := make([]byte, size)
	n, err := unix.Getdents(fd, buf)
	e.ok(err)
	var out []dirent
	for b := buf[:n]; len(b) > 0; {
		l := binary.NativeEndian.Uint16(b[16:])
		name, _, _ := strings.Cut(string(b[19:l]), "\x00")
		out = append(out, dirent{
			ino: binary.NativeEndian.Uint64(b), off: int64(binary.NativeEndian.Uint64(b[8:])),
			typ: b[18], name: name,
		})
		b = b[l:]
	}
	return out
}

// allDirents reads a directory from the descriptor's position to its end, in
// bites of size bytes.
func (e *Env) allDirents(fd, size int) []dirent {
	e.T.Helper()
	var out []dirent
	for {
		some := e.dirents(fd, size)
		if len(some) == 0 {
			return out
		}
		out = append(out, some...)
	}
}

func (e *Env) opendir(name string) int { return e.open(name, unix.O_RDONLY|unix.O_DIRECTORY) }

func sorted(list []dirent) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.name)
	}
	slices.Sort(out)
	return out
}

// readdirCases: what a directory lists, and from which position.
func readdirCases() []Case {
	three := Tree{"d/a": File(""), "d/b": Dir(), "d/c": Sym("x"), "d/e": Fifo()}
	return []Case{
		{
			Name: "dot, dotdot and every name come once", RO: true,
			Lower: three, Over: []Tree{{"d/a": File(""), "d/f": File("")}, {"d/a": File(""), "d/b/x": File("")}},
			Run: func(_ *testing.T, e *Env) {
				got := sorted(e.allDirents(e.opendir("d"), 4096))
				e.equal(strings.Join(got, " "), ". .. a b c e f", "names")
			},
		},
		{
			Name: "the type of every entry is that of the object", RO: true,
			Lower: three, Over: []Tree{{"d/z": File("")}},
			Differs: map[string]string{"sole": "the xattr of a file may say that it is a device: its type isn't known before it is looked up"},
			Run: func(_ *testing.T, e *Env) {
				want := map[string]byte{"a": unix.DT_REG, "b": unix.DT_DIR, "c": unix.DT_LNK, "e": unix.DT_FIFO, "z": unix.DT_REG}
				for _, d := range e.allDirents(e.opendir("d"), 4096) {
					if w, ok := want[d.name]; ok && d.typ != w && !(e.Differs() && d.typ == unix.DT_UNKNOWN) {
						e.T.Errorf("%s has type %d, want %d", d.name, d.typ, w)
					}
				}
			},
		},
		{
			Name:  "the inode number of every entry is what stat says, also after a copy-up",
			Lower: three, Over: []Tree{{"d/z": File("")}},
			Run: func(_ *testing.T, e *Env) {
				check := func() {
					e.T.Helper()
					for _, d := range e.allDirents(e.opendir("d"), 4096) {
						if d.name != ".." {
							e.equal(d.ino, e.ino("d/"+d.name), "d_ino of "+d.name)
						}
					}
				}
				check()
				e.put("d/a", "up")
				e.put("d/b/new", "up")
				e.put("d/new", "up")
				check()
			},
		},
		{
			Name: "ten thousand entries of two layers are listed once each", RO: true, Big: true,
			Lower: Many("big", "f", 10000), Over: []Tree{Many("big", "f", 300), {"big/f05000": White()}},
			Run: func(_ *testing.T, e *Env) {
				got := sorted(e.allDirents(e.opendir("big"), 32<<10))
				e.equal(len(got), 10001, "number of entries")
				for i, n := range got[2:] {
					j := i
					if i >= 5000 {
						j++
					}
					if n != "f"+num(j) {
						e.T.Fatalf("entry %d is %s, want f%s", i, n, num(j))
					}
				}
			},
		},
		{
			Name: "a small buffer lists the same as a big one", RO: true,
			Lower: Many("d", "some-longer-name-", 100), Over: []Tree{Many("d", "other-", 50)},
			Run: func(_ *testing.T, e *Env) {
				big := sorted(e.allDirents(e.opendir("d"), 64<<10))
				small := sorted(e.allDirents(e.opendir("d"), 64))
				e.equal(fmt.Sprint(small), fmt.Sprint(big), "names")
			},
		},
		{
			Name:  "a buffer too small for one entry is EINVAL",
			RO:    true,
			Lower: Tree{"d/" + strings.Repeat("n", 200): File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				var err error
				for range 4 {
					var n int
					if n, err = unix.Getdents(fd, make([]byte, 40)); err != nil || n == 0 {
						break
					}
				}
				e.fails(err, unix.EINVAL)
			},
		},
		{
			Name: "seekdir goes back to where telldir was", RO: true,
			Lower: Many("d", "f", 200), Over: []Tree{Many("d", "g", 100)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				all := e.allDirents(fd, 4096)
				e.equal(len(all), 302, "number of entries")
				for _, i := range []int{0, 1, 2, 57, 150, 298} {
					_, err := unix.Seek(fd, all[i].off, io.SeekStart)
					e.ok(err)
					rest := e.allDirents(fd, 512)
					e.equal(fmt.Sprint(sorted(rest)), fmt.Sprint(sorted(all[i+1:])), "the rest after entry "+num(i))
				}
			},
		},
		{
			Name:  "seekdir lists what stayed, though other entries came and went",
			Lower: Many("d", "f", 200),
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				first := e.dirents(fd, 2048)
				e.is(len(first) > 20, "only %d entries", len(first))
				at := first[len(first)-1].off
				rest := sorted(e.allDirents(fd, 2048))
				for i := range 20 {
					e.put("d/new"+num(i), "")
				}
				removed := map[string]bool{}
				for _, d := range first[:10] {
					if d.name[0] == 'f' {
						e.unlink("d/" + d.name)
						removed[d.name] = true
					}
				}
				for _, n := range rest[2:7] {
					if n[0] == 'f' {
						e.unlink("d/" + n)
						removed[n] = true
					}
				}
				_, err := unix.Seek(fd, at, io.SeekStart)
				e.ok(err)
				seen := map[string]int{}
				for _, d := range e.allDirents(fd, 2048) {
					seen[d.name]++
				}
				for _, n := range rest {
					if !removed[n] && seen[n] != 1 {
						e.T.Errorf("%s was there all the time and came %d times", n, seen[n])
					}
				}
				for _, d := range first {
					if seen[d.name] != 0 {
						e.T.Errorf("%s was before the position and came again", d.name)
					}
				}
			},
		},
		{
			Name:  "deleting while listing reaches every entry",
			Lower: Many("d", "f", 500), Over: []Tree{Many("d", "g", 100)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				for {
					some := e.dirents(fd, 1024)
					if len(some) == 0 {
						break
					}
					for _, d := range some {
						if d.typ != unix.DT_DIR {
							e.unlink("d/" + d.name)
						}
					}
				}
				e.wantNames("d")
				e.rmdir("d")
				e.wantUpper("w d")
			},
		},
		{
			Name:  "rewinddir shows what has changed since",
			Lower: Tree{"d/a": File(""), "d/b": File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				e.equal(fmt.Sprint(sorted(e.allDirents(fd, 4096))), "[. .. a b]", "before")
				e.put("d/c", "")
				e.unlink("d/a")
				_, err := unix.Seek(fd, 0, io.SeekStart)
				e.ok(err)
				e.equal(fmt.Sprint(sorted(e.allDirents(fd, 4096))), "[. .. b c]", "after")
			},
		},
		{
			Name:  "a directory opened before a change lists it when read after",
			Lower: Tree{"d/a": File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				e.put("d/b", "")
				got := sorted(e.allDirents(fd, 4096))
				e.equal(fmt.Sprint(got), "[. .. a b]", "names")
			},
		},
		{
			Name:  "a listing repeated after create, unlink and rename is right each time",
			Lower: Tree{"d/a": File(""), "d/b": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames("d", "a", "b")
				e.put("d/c", "")
				e.wantNames("d", "a", "b", "c")
				e.unlink("d/b")
				e.wantNames("d", "a", "c")
				e.rename("d/a", "d/z")
				e.wantNames("d", "c", "z")
				e.ok(unix.Symlink("x", e.p("d/l")))
				e.wantNames("d", "c", "l", "z")
				e.link("d/z", "d/y")
				e.wantNames("d", "c", "l", "y", "z")
				e.mkdir("d/b")
				e.wantNames("d", "b", "c", "l", "y", "z")
			},
		},
		{
			Name:  "a directory removed while open lists nothing any more",
			Lower: Tree{"d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				fd := e.opendir("d")
				e.rmdir("d")
				buf := make([]byte, 4096)
				n, err := unix.Getdents(fd, buf)
				if err == nil && n > 0 {
					for _, d := range e.dirents(e.opendir("."), 4096) {
						e.is(d.name != "d", "the removed directory is still listed")
					}
					return // some list "." and ".." on
				}
				if err != nil {
					e.fails(err, unix.ENOENT)
				}
			},
		},
	}
}
