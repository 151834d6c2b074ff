package union

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A removed lower file that is open stays readable when its directory moves.
func TestBugOpenUnlinkedAndDirRename(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/f", "content")
	e.file("lower1/d/g", "other")
	e.open()
	f := e.c.id("d/f")
	e.c.unlink("d/f")
	e.c.rename("d", "e")
	if s := e.c.read(f); s != "content" {
		t.Errorf("read %q", s)
	}
}

// A node that gets a name elsewhere lets go of its old parent.
func TestBugAdoptLeaksParent(t *testing.T) {
	e := newEnv(t, 1).open()
	d := e.c.mkdir("d")
	e.c.mkdir("b")
	var tmp Entry
	e.c.check("tmpfile", e.fs.Tmpfile(caller, d, 0o600, 0, &tmp))
	e.c.got(tmp.Node)
	e.c.rmdir("d")
	e.c.forget(d)
	e.c.link(tmp.Node, "b/name")
	e.c.forgetAll()
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes left", n)
	}
}

// A directory is not renamed over one that it is in. (The kernel never asks.)
func TestBugRenameOverAncestor(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/sub/f", "")
	e.open()
	done := make(chan error, 1)
	d := e.c.id("d")
	go func() { done <- e.fs.Rename(d, "sub", 1, "d", 0) }()
	select {
	case err := <-done:
		if err != unix.ENOTEMPTY {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("hangs")
		e.fs = nil
	}
}
