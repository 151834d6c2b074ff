package union

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// TestCapsOfNewFile: that a new file has no capabilities is known without a look,
// until somebody gives it some, under whatever name it has by then.
func TestCapsOfNewFile(t *testing.T) {
	require.Root(t)
	e := newEnv(t, 1).open()
	var made Entry
	if errno := e.fs.Create(caller, node.Root, "f", 0o755, 0, &made); errno != 0 {
		t.Fatal(errno)
	}
	var buf [64]byte
	get := func() unix.Errno {
		_, errno := e.fs.GetXattr(made.Node, xattrCaps, buf[:])
		return errno
	}
	if errno := get(); errno != unix.ENODATA {
		t.Fatalf("a new file: %v", errno)
	}
	if errno := e.fs.Rename(node.Root, "f", node.Root, "g", 0); errno != 0 {
		t.Fatal(errno)
	}
	caps := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if errno := e.fs.SetXattr(made.Node, xattrCaps, caps, 0); errno != 0 {
		t.Fatal(errno)
	}
	if errno := get(); errno != 0 {
		t.Errorf("after they were set: %v", errno)
	}
	e.fs.Forget(made.Node, 1)
}
