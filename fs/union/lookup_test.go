package union

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

func TestLookupLife(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", "hello")
	e.open()
	a, b := e.c.walk("d/f"), e.c.walk("d/f")
	if a.Node != b.Node || a.Attr != b.Attr {
		t.Errorf("%+v and %+v", a, b)
	}
	if got := e.c.attr(a.Node); got != a.Attr {
		t.Errorf("getattr %+v, look-up %+v", got, a.Attr)
	}
	if n := e.fs.Nodes(); n != 3 {
		t.Errorf("%d nodes", n)
	}
	if name := e.fs.Name(a.Node); name != "/d/f" {
		t.Errorf("Name %s", name)
	}
	d := e.c.id("d")
	e.c.forget(d) // its child keeps it, but not for the kernel
	if n := e.fs.Nodes(); n != 3 {
		t.Errorf("%d nodes with a child", n)
	}
	e.c.forget(a.Node)
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes after all", n)
	}
	var attr Attr
	if errno := e.fs.GetAttr(a.Node, &attr); errno != unix.ESTALE {
		t.Errorf("forgotten node: %v", errno)
	}
	if again := e.c.id("d/f"); again == a.Node {
		t.Error("a forgotten id was given out again")
	}
	for path, want := range map[string]error{
		"absent": unix.ENOENT, "d/absent": unix.ENOENT, "d/f/x": unix.ENOTDIR,
		strings.Repeat("n", 256): unix.ENAMETOOLONG, strings.Repeat("n", 255): unix.ENOENT,
	} {
		if _, errno := e.c.try(path); errno != want {
			t.Errorf("%.10s: %v, want %v", path, errno, want)
		}
	}
	if name := e.fs.Name(node.Make(999, 999)); name != "?" {
		t.Errorf("name of nothing: %s", name)
	}
}

// A record that is used again must not bring what belonged to its last user.
func TestRecycledRecord(t *testing.T) {
	e := newEnv(t, 2)
	for i := range 20 {
		e.file(fmt.Sprintf("lower%d/d%d/in%d", i%2+1, i, i), fmt.Sprint(i))
	}
	e.open()
	for _, i := range []int{0, 1, 2, 3, 4, 5, 19, 18, 0, 3} {
		d := e.c.walk(fmt.Sprintf("d%d", i))
		if a := e.c.attr(d.Node); a.Ino != d.Attr.Ino || a.Mtime != d.Attr.Mtime {
			t.Errorf("d%d: %+v, want %+v", i, a, d.Attr)
		}
		if i%3 == 0 {
			if l := e.c.list(d.Node, 10); len(l) != 1 || l[0] != fmt.Sprintf("in%d", i) {
				t.Errorf("d%d has %v", i, l)
			}
			if s := e.c.content(fmt.Sprintf("d%d/in%d", i, i)); s != fmt.Sprint(i) {
				t.Errorf("in%d: %q", i, s)
			}
		}
		e.c.forgetAll()
	}
}

func TestMerge(t *testing.T) {
	e := newEnv(t, 3)
	e.file("lower3/d/bottom", "3")
	e.file("lower3/d/all", "3")
	e.file("lower3/d/hidden", "3")
	e.file("lower3/fileoverdir/x", "3")
	e.file("lower3/diroverfile", "3")
	e.file("lower3/cut/low", "3")
	e.file("lower3/opq/low", "3")
	e.file("lower3/back", "3")
	e.file("lower2/d/all", "2")
	e.whiteout("lower2/d/hidden")
	e.file("lower2/fileoverdir", "2")
	e.file("lower2/diroverfile/y", "2")
	e.file("lower2/cut", "2") // a file cuts the merge for good
	e.file("lower2/opq/mid", "2")
	e.setxattr("lower2/opq", "trusted.overlay.opaque", "y")
	e.whiteout("lower2/back")
	e.file("lower1/d/top", "1")
	e.file("lower1/cut/high", "1")
	e.file("lower1/opq/high", "1")
	e.file("lower1/back", "1")
	e.file("upper/d/up", "0")
	e.whiteout("upper/d/top")
	e.open()
	want := []string{
		"back", "cut", "cut/high", "d", "d/all", "d/bottom", "d/up", "diroverfile", "diroverfile/y",
		"fileoverdir", "opq", "opq/high", "opq/mid",
	}
	var got []string
	for l := range strings.SplitSeq(e.c.tree(), "\n") {
		got = append(got, strings.Fields(l)[0])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for path, s := range map[string]string{"d/all": "2", "back": "1", "fileoverdir": "2", "diroverfile/y": "2"} {
		if got := e.c.content(path); got != s {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestReadDirWhileChanging(t *testing.T) {
	e := newEnv(t, 1)
	for i := range 100 {
		e.file(fmt.Sprintf("lower1/stay%d", i), "")
		e.file(fmt.Sprintf("lower1/go%d", i), "")
	}
	e.open()
	seen := map[string]int{}
	off := uint64(0)
	for k := 0; ; k++ {
		s := names{max: 3}
		e.c.check("readdir", e.fs.ReadDir(node.Root, off, k%2 == 0, &s))
		if len(s.list) == 0 {
			break
		}
		for _, n := range s.list {
			seen[n]++
		}
		for i, x := range s.got {
			if (x.Node == 0) != (s.list[i] == "." || s.list[i] == "..") {
				t.Errorf("plus: %s is node %d", s.list[i], x.Node)
			}
			if x.Node != 0 {
				e.c.got(x.Node)
			}
		}
		off = s.last
		if k < 100 {
			e.c.unlink(fmt.Sprintf("go%d", k))
			e.c.create(fmt.Sprintf("new%d", k), 0o644)
		}
	}
	for i := range 100 {
		if n := seen[fmt.Sprintf("stay%d", i)]; n != 1 {
			t.Errorf("stay%d was listed %d times", i, n)
		}
	}
	for n, k := range seen {
		if k != 1 {
			t.Errorf("%s was listed %d times", n, k)
		}
	}
	e.c.forgetAll()
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes", n)
	}
}

func TestReadOnly(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/f", "x")
	e.o.Upper, e.o.Work = "", ""
	e.open()
	f := e.c.id("f")
	var en Entry
	var a Attr
	for op, errno := range map[string]error{
		"create":  e.fs.Create(caller, node.Root, "n", 0o644, 0, &en),
		"unlink":  e.fs.Unlink(node.Root, "f"),
		"rmdir":   e.fs.Rmdir(node.Root, "f"),
		"rename":  e.fs.Rename(node.Root, "f", node.Root, "g", 0),
		"link":    e.fs.Link(f, node.Root, "g", &en),
		"setattr": e.fs.SetAttr(caller, f, &AttrChange{Valid: SetMode}, &a),
		"xattr":   e.fs.SetXattr(f, "user.a", nil, 0),
		"tmpfile": e.fs.Tmpfile(caller, node.Root, 0o600, 0, &en),
	} {
		if errno != unix.EROFS {
			t.Errorf("%s: %v", op, errno)
		}
	}
	if _, errno := e.fs.Write(f, []byte("y"), 0, nil); errno != unix.EROFS {
		t.Errorf("write: %v", errno)
	}
}
