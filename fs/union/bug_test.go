package union

import (
	"sync"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
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

// mv of the second name of a lower file that was copied up by its first.
func TestBugRenameSecondName(t *testing.T) {
	e := newEnv(t, 1)
	e.file("lower1/d/x", "old")
	e.mkdir("lower1/other")
	link(t, e.path("lower1/d/x"), e.path("lower1/d/y"))
	link(t, e.path("lower1/d/x"), e.path("lower1/other/z"))
	e.open()
	x := e.c.id("d/x")
	e.c.write(x, "new", 0)
	e.c.id("d/y")
	e.c.rename("d/y", "d/y2")
	e.c.rename("other", "other2")
	for range 2 {
		x = e.c.id("d/x")
		if e.c.id("d/y2") != x || e.c.id("other2/z") != x || e.c.read(x) != "new" || e.c.attr(x).Nlink != 3 {
			t.Errorf("%s", e.c.tree())
		}
		e.reopen()
	}
}

// A rename that fails after its target was prepared, and then works.
func TestBugTargetDescriptor(t *testing.T) {
	e := newEnv(t, 1)
	e.o.Redirect = layer.RedirectOn
	e.mkdir("upper/target")
	e.file("lower1/low/f", "")
	fds := openFDs(t)
	e.open()
	target := e.c.id("target")
	// What clearTarget and rmdirUpper keep of a directory, twice.
	d := e.fs.dirs.get(target.Index())
	p, _ := e.fs.dirFD(target.Index(), 0)
	src, dst := &side{}, &side{d: e.fs.dirs.get(1), name: "target", id: target}
	dst.ent = func() *index.Entry { _ = e.fs.lock(dst.d); defer dst.d.mu.Unlock(); return dst.d.ix.Find("target") }()
	if errno := e.fs.clearTarget(src, dst, true); errno != 0 {
		t.Fatal(errno)
	}
	p.release()
	_ = d
	e.c.rmdir("target")
	e.c.forgetAll()
	e.close()
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
}

// A directory that two requests look up at once is whole for both.
func TestBugLookupOfNewDir(t *testing.T) {
	e := newEnv(t, 2)
	e.file("lower1/d/a", "")
	e.file("lower2/d/b", "")
	e.open()
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 20000 {
				var d, f Entry
				if errno := e.fs.Lookup(node.Root, "d", &d); errno != 0 {
					t.Error(errno)
					return
				}
				errno := e.fs.Lookup(d.Node, "b", &f)
				if errno == 0 {
					e.fs.Forget(f.Node, 1)
				}
				e.fs.Forget(d.Node, 1)
				if errno != 0 || d.Attr.Nlink != 1 {
					t.Errorf("d/b: %v, d has %d links", errno, d.Attr.Nlink)
					return
				}
			}
		}()
	}
	wg.Wait()
}
