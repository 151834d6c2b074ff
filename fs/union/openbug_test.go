package union

import (
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// A file with several names is found by more keys than two; all of them go with
// its node. (One that stays leads to whatever node has the record next.)
func TestBugStaleLinkKey(t *testing.T) {
	e := newEnv(t, 2)
	e.file("lower2/x", "old")
	e.file("lower2/other", "other")
	link(t, e.path("lower2/x"), e.path("lower2/y"))
	e.open()
	e.c.write(e.c.id("x"), "new", 0)
	e.c.forgetAll()
	e.c.id("x")
	e.c.id("y")
	e.c.forgetAll()
	other := e.c.id("other")
	if id, errno := e.c.try("y"); errno != 0 || id.Node == other {
		t.Errorf("y: %v, other is %x and y is %x", errno, other, id.Node)
	}
}

// A directory that was moved into what was moved out of it.
func TestBugOriginCycle(t *testing.T) {
	e := newEnv(t, 1)
	e.o.Redirect = layer.RedirectOn
	e.file("lower1/a/b/f", "")
	e.open()
	e.c.rename("a/b", "c")
	e.c.rename("a", "c/a")
	e.c.forgetAll()
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes left", n)
	}
}
