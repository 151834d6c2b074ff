package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
)

func TestEachKind(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "etc/conf", "one\ntwo\n")
	b.write(b.host, "etc/same", "same")
	b.write(b.host, "etc/old", "old")
	b.write(b.host, "etc/type", "was a file")
	b.write(b.host, "dir/a", "a")
	b.write(b.host, "dir/sub/b", "b")
	b.must(os.Symlink("old", filepath.Join(b.host, "etc/link")))
	b.write(b.host, "etc/mode", "m")
	b.begin()
	b.write(b.upper, "etc/conf", "one\n2\n")
	b.based("etc/conf")
	b.write(b.upper, "etc/same", "same")
	b.whiteout("etc/old")
	b.must(os.Symlink("conf", filepath.Join(b.upper, "etc/type")))
	b.must(os.Symlink("new", filepath.Join(b.upper, "etc/link")))
	b.write(b.upper, "etc/mode", "m")
	b.must(os.Chmod(filepath.Join(b.upper, "etc/mode"), 0o600))
	b.write(b.upper, "new/x", "x")
	b.must(os.Link(filepath.Join(b.upper, "new/x"), filepath.Join(b.upper, "new/y")))
	b.whiteout("dir")
	list := b.expect(
		"D /dir/",
		"C /etc/conf",
		"C /etc/link (target)",
		"C /etc/mode (mode)",
		"D /etc/old",
		"T /etc/type (file is now symlink)",
		"A /new/",
		"A /new/x",
		"A /new/y (link to /new/x)",
	)
	if got := Count(list).String(); got != "3 added, 4 changed, 2 deleted, 11 B" {
		t.Error(got)
	}
	b.apply(false)
	b.content("etc/conf", "one\n2\n")
	b.content("new/y", "x")
	b.gone("etc/old")
	b.gone("dir")
	if to, _ := os.Readlink(filepath.Join(b.host, "etc/type")); to != "conf" {
		t.Error("type:", to)
	}
	var x, y unix.Stat_t
	if unix.Stat(filepath.Join(b.host, "new/x"), &x) != nil || unix.Stat(filepath.Join(b.host, "new/y"), &y) != nil || x.Ino != y.Ino {
		t.Error("the hard link became two files")
	}
	b.expect() // nothing is left to do
	left, _ := filepath.Glob(filepath.Join(b.host, "*", ".plyfs-*"))
	if len(left) > 0 {
		t.Error("left behind:", left)
	}
}

func TestConflicts(t *testing.T) {
	b := newBox(t)
	for _, f := range []string{"copied", "replaced", "deleted", "tree/f", "fine"} {
		b.write(b.host, f, "host")
	}
	b.begin()
	b.write(b.upper, "copied", "mine")
	b.based("copied")
	b.write(b.upper, "replaced", "mine") // a file that never was a copy
	b.write(b.upper, "fine", "mine")
	b.based("fine")
	b.write(b.upper, "born", "mine")
	b.whiteout("deleted")
	b.whiteout("tree")
	for _, f := range []string{"copied", "replaced", "deleted", "tree/f", "born"} {
		b.write(b.host, f, "host again")
	}
	list := b.expect(
		"C /born [conflict: changed on the host after the sandbox was made]",
		"C /copied [conflict: the host has changed its content]",
		"D /deleted [conflict: changed on the host after the sandbox was made]",
		"C /fine",
		"C /replaced [conflict: changed on the host after the sandbox was made]",
		"D /tree/ [conflict: /tree/f in it was changed on the host after the sandbox was made]",
	)
	_, err := b.v.Apply(list, false)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(conflict.Changes) != 5 {
		t.Fatal(err)
	}
	b.content("fine", "host") // all or nothing
	picked, err := Select(list, []string{"fine"})
	b.must(err)
	res, err := b.v.Apply(picked, false)
	if err != nil || len(res.Done) != 1 {
		t.Error(res, err)
	}
	b.content("fine", "mine")
	b.apply(true)
	b.content("copied", "mine")
	b.content("born", "mine")
	b.gone("tree")
	b.expect()
}

// TestLastMoment: the host changes a file between the listing and the commit.
func TestLastMoment(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "f", "host")
	b.begin()
	b.write(b.upper, "f", "mine")
	b.write(b.upper, "n", "mine")
	list := b.expect("C /f", "A /n")
	b.write(b.host, "f", "host 2")
	b.write(b.host, "n", "host 2")
	res, err := b.v.Apply(list, false)
	if err != nil || len(res.Failed) != 2 {
		t.Fatal(res.Failed, err)
	}
	b.content("f", "host 2")
	b.content("n", "host 2")
}

// TestOpaque: a directory that was deleted and made again hides what was in it;
// one that the host has made meanwhile isn't that directory.
func TestOpaque(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "again/old", "old")
	b.begin()
	for _, d := range []string{"again", "both"} {
		b.write(b.upper, d+"/new", "new")
		b.must(unix.Setxattr(filepath.Join(b.upper, d), "user.overlay.opaque", []byte("y"), 0))
	}
	b.based("again")
	b.write(b.host, "both/theirs", "theirs")
	b.expect("A /again/new", "D /again/old", "A /both/new")
	b.apply(true)
	b.gone("again/old")
	b.content("both/theirs", "theirs")
}

// TestProtected: what the sandbox did not see stays, whatever it deleted.
func TestProtected(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "home/me/.ssh/key", "secret")
	b.write(b.host, "home/me/doc", "doc")
	b.v.Protected["/home/me/.ssh"] = "hidden from the sandbox"
	b.begin()
	b.whiteout("home/me")
	b.expect("D /home/me/")
	b.apply(false)
	b.content("home/me/.ssh/key", "secret")
	b.gone("home/me/doc")

	b.must(os.Remove(filepath.Join(b.upper, "home/me")))
	b.write(b.upper, "home/me/.ssh/key", "other")
	b.must(unix.Setxattr(filepath.Join(b.upper, "home/me/.ssh"), "user.overlay.opaque", []byte("y"), 0))
	res := b.apply(true)
	if len(res.Kept) == 0 {
		t.Error("a change of a hidden file was not kept back")
	}
	b.content("home/me/.ssh/key", "secret")

	b.must(os.RemoveAll(filepath.Join(b.upper, "home/me")))
	b.write(b.upper, "home/me", "a file")
	if res := b.apply(true); len(res.Kept) != 1 {
		t.Error(res)
	}
	b.content("home/me/.ssh/key", "secret")
}

// TestSymlinkParent: a directory that the host has made a link leads nowhere.
func TestSymlinkParent(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "elsewhere/f", "theirs")
	b.write(b.host, "d/f", "host")
	b.begin()
	b.write(b.upper, "d/f", "mine")
	list := b.changes()
	b.must(os.Rename(filepath.Join(b.host, "d"), filepath.Join(b.host, "d.old")))
	b.must(os.Symlink("elsewhere", filepath.Join(b.host, "d")))
	res, err := b.v.Apply(list, true)
	if err != nil || len(res.Failed) != 1 {
		t.Error(res, err)
	}
	b.content("elsewhere/f", "theirs")
	if _, err := os.Stat(filepath.Join(b.host, "elsewhere", "g")); err == nil {
		t.Error("written through the link")
	}
}

// TestReadOnlyDirs: a new directory without write permission gets its files
// before it gets its mode.
func TestReadOnlyDirs(t *testing.T) {
	b := newBox(t)
	b.begin()
	b.write(b.upper, "ro/sub/f", "x")
	stat := func(mode string) []byte { return []byte("0:0:" + mode + ":dir") }
	for _, d := range []string{"ro/sub", "ro"} {
		b.must(unix.Setxattr(filepath.Join(b.upper, d), dialect.OverrideUser, stat("0555"), 0))
	}
	b.apply(false)
	b.content("ro/sub/f", "x")
	st, err := os.Stat(filepath.Join(b.host, "ro"))
	if err != nil || st.Mode().Perm() != 0o555 {
		t.Error(st.Mode(), err)
	}
	b.must(os.Chmod(filepath.Join(b.host, "ro"), 0o755))
	b.must(os.Chmod(filepath.Join(b.host, "ro/sub"), 0o755))
}
