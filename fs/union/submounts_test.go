package union

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

// TestLiveInodeNumbersOfSubmounts: below a live lower other file systems are
// mounted, where inode numbers come again. Files with several names there are
// not one file because their numbers are one.
func TestLiveInodeNumbersOfSubmounts(t *testing.T) {
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	e := newEnv(t, 1)
	e.o.Live = true
	for _, d := range []string{"a", "b"} {
		nsbox.Tmpfs(t, e.mkdir("lower1/"+d), "")
		e.file("lower1/"+d+"/x", "file of "+d)
		link(t, e.path("lower1/"+d+"/x"), e.path("lower1/"+d+"/y"))
	}
	e.open()
	look := func() {
		t.Helper()
		for _, p := range []string{"a/x", "b/y", "b/x", "a/y"} {
			if s, want := e.c.content(p), "file of "+p[:1]; s != want {
				t.Errorf("%s reads as %q", p, s)
			}
			if n := e.c.walk(p).Attr.Nlink; n != 2 {
				t.Errorf("%s has link count %d", p, n)
			}
		}
		if e.c.walk("a/x").Attr.Ino == e.c.walk("b/x").Attr.Ino {
			t.Error("two files show one inode number")
		}
	}
	look()
	e.c.write(e.c.id("a/x"), "FILE", 0)
	e.c.write(e.c.id("b/y"), "up", 0)
	for range 2 {
		// A copy-up separates the names: TestLiveHardLinks.
		for p, want := range map[string]string{"a/x": "FILE of a", "a/y": "file of a", "b/x": "file of b", "b/y": "uple of b"} {
			if s := e.c.content(p); s != want {
				t.Errorf("%s reads as %q, want %q", p, s, want)
			}
		}
		seen := map[uint64]string{}
		for _, p := range []string{"a/x", "a/y", "b/x", "b/y"} {
			ino := e.c.walk(p).Attr.Ino
			if other, ok := seen[ino]; ok {
				t.Errorf("%s and %s show one inode number", p, other)
			}
			seen[ino] = p
		}
		e.reopen()
	}
}

// TestFSID: subvolumes of btrfs have one UUID and the same inode numbers.
func TestFSID(t *testing.T) {
	uuid := [16]byte{1, 2, 3, 15: 16}
	fid := func(root byte) []byte { return []byte{0, 1, 0, 0, 0, 0, 0, 0, root, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0} }
	if newFSID(uuid, 1, fid(1)) != fsID(uuid) || newFSID(uuid, 0x4d, fid(1)[:12]) != fsID(uuid) {
		t.Error("the handle of another file system counts")
	}
	if a, b := newFSID(uuid, 0x4d, fid(1)), newFSID(uuid, 0x4e, fid(2)); a == b || a == fsID(uuid) {
		t.Errorf("two subvolumes are %x and %x", a, b)
	}
}
