package union

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// renameLayers has one of each kind: l(ower), u(pper), m(erged); f(ile), d(irectory), e(mpty directory).
func renameLayers(e *env) {
	for _, l := range []string{"lower1", "upper"} {
		n := l[:1]
		for _, dir := range []string{"", "low/", "up/"} {
			if dir == "low/" && l == "upper" || dir == "up/" && l == "lower1" {
				continue
			}
			e.file(l+"/"+dir+n+"f", l+dir)
			e.file(l+"/"+dir+n+"d/sub/f", l+dir+"sub")
			e.mkdir(l + "/" + dir + n + "e")
			e.file(l+"/"+dir+"md/"+n+"f", l+dir)
			e.mkdir(l + "/" + dir + "me")
		}
	}
	e.whiteout("upper/gone")
	e.file("lower1/gone", "")
	e.file("lower1/me/hidden", "")
	e.whiteout("upper/me/hidden")
}

// below1 is what a name leads to: the tree's lines for it, with the name cut
// off.
func below1(tree, name string) string {
	var out []string
	for l := range strings.SplitSeq(tree, "\n") {
		path, rest, _ := strings.Cut(l, " ")
		if path == name || strings.HasPrefix(path, name+"/") {
			out = append(out, strings.TrimPrefix(path, name)+" "+rest)
		}
	}
	return strings.Join(out, "\n")
}

// TestRenamePairs renames every kind onto every kind, and looks at the view
// before and after a remount.
func TestRenamePairs(t *testing.T) {
	from := []string{"lf", "uf", "ld", "ud", "md", "le", "ue", "me", "low/lf", "low/ld", "up/uf", "up/ud", "low/le"}
	to := []string{"new", "gone", "lf", "uf", "ld", "md", "le", "ue", "me", "low/new", "up/new", "low/lf", "up/uf", "low/le", "up/ue"}
	fast := layer.Options{Fsync: layer.FsyncVolatile, NoMarker: true}
	redirect := fast
	redirect.Redirect = layer.RedirectOn
	for _, o := range []layer.Options{fast, redirect} {
		for _, flags := range []uint32{0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE} {
			t.Run(fmt.Sprintf("redirect%d/flags%d", o.Redirect, flags), func(t *testing.T) {
				for i, a := range from {
					for k, b := range to {
						// All pairs once; of the rest every third will do.
						all := flags == 0 && o.Redirect == layer.RedirectDefault
						if a != b && (all || (i+k)%3 == 0) {
							renamePair(t, o, a, b, flags)
						}
					}
				}
			})
		}
	}
}

func renamePair(t *testing.T, o layer.Options, a, b string, flags uint32) {
	e := newEnv(t, 1)
	defer e.close()
	renameLayers(e)
	o.Lower, o.Upper, o.Work = e.o.Lower, e.o.Upper, e.o.Work
	e.o = o
	e.open()
	before := e.c.tree()
	src, dst := below1(before, a), below1(before, b)
	isDir := strings.HasPrefix(src, " 4")
	var want unix.Errno
	switch {
	case flags == unix.RENAME_EXCHANGE:
		if dst == "" {
			want = unix.ENOENT
		}
	case dst == "":
	case flags == unix.RENAME_NOREPLACE:
		want = unix.EEXIST
	case strings.HasPrefix(dst, " 4"):
		if !isDir {
			want = unix.EISDIR
		} else if strings.Contains(dst, "\n") {
			want = unix.ENOTEMPTY
		}
	case isDir:
		want = unix.ENOTDIR
	}
	id := e.c.id(a)
	if errno := e.c.renameErr(a, b, flags); errno != want {
		t.Errorf("%s -> %s: %v, want %v", a, b, errno, want)
		return
	}
	wantA, wantB := "", src
	switch {
	case want != 0:
		wantA, wantB = src, dst
	case flags == unix.RENAME_EXCHANGE:
		wantA = dst
	}
	if want == 0 && e.c.id(b) != id {
		t.Errorf("%s -> %s: the node has changed", a, b)
	}
	for k := range 2 {
		if k == 1 {
			e.reopen()
		}
		after := e.c.tree()
		if got := below1(after, a); got != wantA {
			t.Errorf("%s -> %s (remount: %v): %s is\n%s\nwant\n%s", a, b, k == 1, a, got, wantA)
		}
		if got := below1(after, b); got != wantB {
			t.Errorf("%s -> %s (remount: %v): %s is\n%s\nwant\n%s", a, b, k == 1, b, got, wantB)
		}
	}
}

// A rename that would copy up too much is EXDEV, and nothing has changed.
func TestRenameLimit(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", strings.Repeat("x", 100000))
	e.o.RenameLimit = 50000
	e.open()
	before := e.c.tree()
	if errno := e.c.renameErr("d", "e", 0); errno != unix.EXDEV {
		t.Errorf("%v", errno)
	}
	if e.c.tree() != before {
		t.Error("the view has changed")
	}
}

// TestRenameDirKeepsTimes: what is copied up in place, linked and uncovered
// before a directory moves changes nobody's times.
func TestRenameDirKeepsTimes(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", "f")
	e.file("lower1/d/sub/g", "g")
	e.file("lower1/d/sub/hidden", "h")
	e.whiteout("upper/d/sub/hidden")
	for _, l := range [][2]string{{"d/f", "d/f2"}, {"d/sub/g", "d/sub/g2"}} {
		if err := unix.Link(e.path("lower1/"+l[0]), e.path("lower1/"+l[1])); err != nil {
			t.Fatal(err)
		}
	}
	old := unix.Timespec{Sec: 1e9, Nsec: 5}
	for _, p := range []string{"lower1/d/sub", "lower1/d", "upper/d/sub", "upper/d"} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, e.path(p), []unix.Timespec{old, old}, 0); err != nil {
			t.Fatal(err)
		}
	}
	e.open()
	e.c.rename("d", "e")
	for _, p := range []string{"e", "e/sub"} {
		if m := e.c.walk(p).Attr.Mtime; m != (Time{1e9, 5}) {
			t.Errorf("%s has mtime %v after the rename", p, m)
		}
	}
}
