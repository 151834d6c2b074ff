package union

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

func TestWhiteouts(t *testing.T) {
	e := newEnv(t, 2)
	e.file("lower1/f", "1")
	e.file("lower2/f", "2")
	e.file("lower2/d/x", "x")
	e.file("lower1/d/y", "y")
	e.file("upper/u", "u")
	e.open()
	e.c.unlink("f")
	if !isWhiteout(e.path("upper/f")) {
		t.Error("no whiteout")
	}
	e.c.unlink("u")
	if errno := e.fs.Rmdir(node.Root, "d"); errno != unix.ENOTEMPTY {
		t.Errorf("rmdir: %v", errno)
	}
	if errno := e.fs.Unlink(node.Root, "d"); errno != unix.EISDIR {
		t.Errorf("unlink of a directory: %v", errno)
	}
	e.c.unlink("d/x")
	e.c.unlink("d/y")
	e.c.rmdir("d")
	if got := e.onDisk("upper"); !slices.Equal(got, []string{"d", "f"}) || !isWhiteout(e.path("upper/d")) {
		t.Errorf("upper: %v", got)
	}
	if s := e.c.tree(); s != "" {
		t.Errorf("view:\n%s", s)
	}
	// Made again: nothing of what was there shows through.
	e.c.write(e.c.create("f", 0o644), "new", 0)
	e.c.mkdir("d")
	want := "d 40755\nf 100644 1 \"new\""
	if s := e.c.tree(); s != want {
		t.Errorf("view:\n%s", s)
	}
	var v [4]byte
	if n, err := unix.Lgetxattr(e.path("upper/d"), e.fs.ns.Opaque(), v[:]); err != nil || string(v[:n]) != "y" {
		t.Errorf("opaque: %q %v", v[:n], err)
	}
	e.reopen()
	if s := e.c.tree(); s != want {
		t.Errorf("after a remount:\n%s", s)
	}
	e.workEmpty()
	e.c.unlink("f")
	e.c.rmdir("d")
	e.reopen()
	if s := e.c.tree(); s != "" {
		t.Errorf("at the end:\n%s", s)
	}
}

func TestNamesRefused(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/f", "")
	e.open()
	var en Entry
	f := e.c.id("f")
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		what string
		got  error
		want error
	}{
		{"exists", e.fs.Create(caller, node.Root, "f", 0o644, 0, &en), unix.EEXIST},
		{"mkdir exists", e.fs.Mkdir(caller, node.Root, "f", 0o755, &en), unix.EEXIST},
		{"long", e.fs.Create(caller, node.Root, long, 0o644, 0, &en), unix.ENAMETOOLONG},
		{"whiteout name", e.fs.Create(caller, node.Root, ".wh.x", 0o644, 0, &en), unix.EINVAL},
		{"rename to whiteout name", e.fs.Rename(node.Root, "f", node.Root, ".wh.x", 0), unix.EINVAL},
		{"whiteout", e.fs.Mknod(caller, node.Root, "w", unix.S_IFCHR, 0, &en), unix.EPERM},
		{"in a file", e.fs.Create(caller, f, "x", 0o644, 0, &en), unix.ENOTDIR},
		{"in nothing", e.fs.Create(caller, node.Make(77, 77), "x", 0o644, 0, &en), unix.ESTALE},
		{"link exists", e.fs.Link(f, node.Root, "f", &en), unix.EEXIST},
		{"unlink absent", e.fs.Unlink(node.Root, "absent"), unix.ENOENT},
		{"rmdir of a file", e.fs.Rmdir(node.Root, "f"), unix.ENOTDIR},
		{"rename absent", e.fs.Rename(node.Root, "absent", node.Root, "x", 0), unix.ENOENT},
		{"rename whiteout", e.fs.Rename(node.Root, "f", node.Root, "x", unix.RENAME_WHITEOUT), unix.EINVAL},
		{"exchange with absent", e.fs.Rename(node.Root, "f", node.Root, "x", unix.RENAME_EXCHANGE), unix.ENOENT},
		{"both flags", e.fs.Rename(node.Root, "f", node.Root, "x", 3), unix.EINVAL},
		{"noreplace", e.fs.Rename(node.Root, "f", node.Root, "f", unix.RENAME_NOREPLACE), unix.EEXIST},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if s := e.c.tree(); s != "f 100644 1 \"\"" {
		t.Errorf("view:\n%s", s)
	}
	n := strings.Repeat("n", 255)
	e.c.create(n, 0o644)
	e.c.rename(n, strings.Repeat("m", 255))
	e.c.mkdir(n)
	e.c.rmdir(n)
}

func TestOwnersAndModes(t *testing.T) {
	require.Root(t)
	e := newEnv(t, 1).open()
	who := &Caller{UID: 11, GID: 22, Umask: 0o27}
	var d, f, s, x Entry
	e.c.check("mkdir", e.fs.Mkdir(who, node.Root, "d", 0o777, &d))
	e.c.check("create", e.fs.Create(who, d.Node, "f", 0o4777, 0, &f))
	if d.Attr.Mode != unix.S_IFDIR|0o750 || d.Attr.UID != 11 || d.Attr.GID != 22 {
		t.Errorf("%+v", d.Attr)
	}
	if f.Attr.Mode != unix.S_IFREG|0o4750 || f.Attr.UID != 11 || f.Attr.GID != 22 {
		t.Errorf("%+v", f.Attr)
	}
	// A setgid directory hands its group down, and the bit to directories.
	var a Attr
	e.c.check("chmod", e.fs.SetAttr(caller, d.Node, &AttrChange{Valid: SetMode, Mode: 0o2777}, &a))
	e.c.check("create", e.fs.Create(&Caller{UID: 33, GID: 44}, d.Node, "g", 0o666, 0, &s))
	e.c.check("mkdir", e.fs.Mkdir(&Caller{UID: 33, GID: 44}, d.Node, "sub", 0o755, &x))
	if s.Attr.UID != 33 || s.Attr.GID != 22 || x.Attr.GID != 22 || x.Attr.Mode != unix.S_IFDIR|0o2755 {
		t.Errorf("%+v\n%+v", s.Attr, x.Attr)
	}
	// A write by somebody else takes suid away.
	if _, errno := e.fs.Write(f.Node, []byte("x"), 0, &Caller{}); errno != 0 || e.c.attr(f.Node).Mode != unix.S_IFREG|0o750 {
		t.Errorf("%v %o", errno, e.c.attr(f.Node).Mode)
	}
	// So does a chown.
	e.c.check("chmod", e.fs.SetAttr(caller, f.Node, &AttrChange{Valid: SetMode, Mode: 0o6755}, &a))
	e.c.check("chown", e.fs.SetAttr(caller, f.Node, &AttrChange{Valid: SetUID, UID: 99}, &a))
	if a.Mode != unix.S_IFREG|0o755 || a.UID != 99 || a.GID != 22 {
		t.Errorf("%+v", a)
	}
}

func TestHardLinks(t *testing.T) {
	e := newEnv(t, 2)
	e.file("lower2/x", "old")
	e.mkdir("lower2/d")
	link(t, e.path("lower2/x"), e.path("lower2/y"))
	link(t, e.path("lower2/x"), e.path("lower2/d/z"))
	e.open()
	x := e.c.id("x")
	same := func(when string, nlink uint32, paths ...string) {
		t.Helper()
		for _, p := range paths {
			if en := e.c.walk(p); en.Node != x || en.Attr.Nlink != nlink {
				t.Errorf("%s: %s is node %x with %d names, want %x with %d", when, p, en.Node, en.Attr.Nlink, x, nlink)
			}
		}
	}
	same("lower", 3, "x", "y", "d/z")
	e.c.write(x, "new", 0)
	same("copied up", 3, "x", "y", "d/z")
	ino := e.c.attr(x).Ino
	e.c.link(x, "d/w")
	same("linked", 4, "x", "y", "d/z", "d/w")
	e.c.unlink("y")
	same("one removed", 3, "x", "d/z", "d/w")
	for k := range 2 {
		if k == 1 {
			e.reopen()
		} else {
			e.c.forgetAll()
		}
		x = e.c.id("d/z")
		same("again", 3, "d/w", "x", "d/z")
		if s := e.c.read(x); s != "new" || e.c.attr(x).Ino != ino {
			t.Errorf("%q, inode %d, was %d", s, e.c.attr(x).Ino, ino)
		}
	}
	e.c.unlink("x")
	e.c.unlink("d/w")
	e.c.unlink("d/z")
	if a := e.c.attr(x); a.Nlink != 0 || e.c.read(x) != "new" {
		t.Errorf("%+v", a)
	}
	e.c.forgetAll()
	if left := e.onDisk("work/plyfs/index"); len(left) != 0 {
		t.Errorf("left in the index: %v", left)
	}
	if b, _ := os.ReadFile(e.path("lower2/x")); string(b) != "old" {
		t.Errorf("lower: %q", b)
	}
	e.reopen()
	if s := e.c.tree(); s != "d 40755" {
		t.Errorf("view:\n%s", s)
	}
}
