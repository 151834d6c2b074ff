package union

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/fs/dialect"
	"golang.org/x/sys/unix"
)

// liveEnv is a live lower with the upper inside of it.
func liveEnv(t *testing.T) *env {
	t.Helper()
	e := newEnv(t, 1)
	e.o.Live = true
	e.o.Upper, e.o.Work = e.mkdir("lower1/data/upper"), e.mkdir("lower1/data/work")
	return e
}

// write changes a lower file behind the mount's back.
func (e *env) lowerWrites(p, text string) {
	e.Helper()
	if err := os.WriteFile(e.path("lower1/"+p), []byte(text), 0o644); err != nil {
		e.Fatal(err)
	}
}

func TestLiveUpperIsHidden(t *testing.T) {
	e := liveEnv(t)
	e.file("lower1/data/other", "x")
	e.open()
	e.c.walk("data/other")
	for _, p := range []string{"data/upper", "data/work"} {
		if _, errno := e.c.try(p); errno != unix.ENOENT {
			t.Errorf("%s: %v", p, errno)
		}
	}
	e.c.unlink("data/other")
	e.c.rmdir("data") // to the mount it is empty
}

func TestLiveFollows(t *testing.T) {
	e := liveEnv(t)
	e.file("lower1/d/f", "one")
	e.file("lower1/d/gone", "x")
	e.open()
	if got := e.c.content("d/f"); got != "one" {
		t.Fatal(got)
	}
	old := e.c.id("d/f")
	e.lowerWrites("d/new", "theirs")
	if err := os.Remove(e.path("lower1/d/gone")); err != nil {
		t.Fatal(err)
	}
	e.lowerWrites("d/.f", "two")
	if err := os.Rename(e.path("lower1/d/.f"), e.path("lower1/d/f")); err != nil {
		t.Fatal(err)
	}
	if got := e.c.content("d/f"); got != "two" || e.c.id("d/f") == old {
		t.Errorf("a replaced file: %q, the same node: %v", got, e.c.id("d/f") == old)
	}
	if got := e.c.content("d/new"); got != "theirs" {
		t.Error(got)
	}
	if _, errno := e.c.try("d/gone"); errno != unix.ENOENT {
		t.Error(errno)
	}
	// The whole directory is replaced while a part of it is in the upper.
	e.c.create("d/mine", 0o644)
	if err := os.Rename(e.path("lower1/d"), e.path("lower1/d.old")); err != nil {
		t.Fatal(err)
	}
	e.file("lower1/d/other", "other")
	if got := e.c.content("d/other"); got != "other" {
		t.Error(got)
	}
	if _, errno := e.c.try("d/new"); errno != unix.ENOENT {
		t.Error("a file of the directory that was there before:", errno)
	}
	e.c.walk("d/mine")
}

// TestLiveHardLinks: a copy-up separates the names, and no number is shared by
// two files.
func TestLiveHardLinks(t *testing.T) {
	e := liveEnv(t)
	e.file("lower1/a", "one")
	if err := os.Link(e.path("lower1/a"), e.path("lower1/b")); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.c.write(e.c.id("a"), "ONE", 0)
	if a, b := e.c.content("a"), e.c.content("b"); a != "ONE" || b != "one" {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := e.c.walk("a").Attr, e.c.walk("b").Attr; a.Ino == b.Ino || a.Nlink != 1 {
		t.Errorf("numbers %d and %d, %d names", a.Ino, b.Ino, a.Nlink)
	}
	id := e.c.create("x", 0o644)
	e.c.link(id, "y")
	if e.c.id("x") != e.c.id("y") {
		t.Error("links that were made here are two files")
	}
	e.reopen()
	if a, b := e.c.content("a"), e.c.content("b"); a != "ONE" || b != "one" {
		t.Errorf("after a remount: %q and %q", a, b)
	}
}

// bases reads the records of an upper object.
func (e *env) bases(p string) []dialect.Base {
	e.Helper()
	var buf [1024]byte
	n, err := unix.Getxattr(filepath.Join(e.o.Upper, p), dialect.BaseXattr, buf[:])
	if err != nil {
		return nil
	}
	list, err := dialect.ParseBases(buf[:n])
	if err != nil {
		e.Fatal(err)
	}
	return list
}

func TestLiveBases(t *testing.T) {
	e := liveEnv(t)
	ino := map[string]uint64{}
	for _, f := range []string{"copied", "over", "again", "linked"} {
		e.file("lower1/"+f, f)
		var st unix.Stat_t
		if err := unix.Stat(e.path("lower1/"+f), &st); err != nil {
			t.Fatal(err)
		}
		ino[f] = st.Ino
	}
	e.open()
	e.c.write(e.c.id("copied"), "C", 0)
	e.c.create("new", 0o644)
	e.c.rename("new", "over")
	e.c.unlink("again")
	e.c.create("again", 0o644)
	e.c.unlink("linked")
	e.c.link(e.c.id("copied"), "linked")
	e.c.create("fresh", 0o644)
	for f, want := range map[string][]uint64{
		"over": {ino["over"]}, "again": {ino["again"]}, "fresh": nil,
		"copied": {ino["linked"], ino["copied"]}, // two names: two files had them
	} {
		var got []uint64
		for _, b := range e.bases(f) {
			got = append(got, b.Ino)
		}
		if len(got) != len(want) {
			t.Errorf("%s: records of %v, want %v", f, got, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: records of %v, want %v", f, got, want)
			}
		}
	}
}

// TestLiveNewDirsAreOpaque: what others make under the name later stays theirs.
func TestLiveNewDirsAreOpaque(t *testing.T) {
	e := liveEnv(t).open()
	e.c.mkdir("d")
	e.c.create("d/mine", 0o644)
	e.file("lower1/d/theirs", "x")
	for range 2 {
		if _, errno := e.c.try("d/theirs"); errno != unix.ENOENT {
			t.Error(errno)
		}
		e.c.walk("d/mine")
		e.reopen()
	}
}

// TestOrders: owners and devices that are asked for by xattr.
func TestOrders(t *testing.T) {
	e := liveEnv(t)
	e.o.XattrPerm, e.o.SquashToRoot = 2, true
	e.file("lower1/f", "x")
	e.open()
	id := e.c.id("f")
	e.c.check("chown", e.fs.SetXattr(id, dialect.ChownXattr, []byte("12:-1"), 0))
	if a := e.c.attr(id); a.UID != 0 || a.GID != 0 {
		t.Errorf("the mount shows %d:%d", a.UID, a.GID)
	}
	var a Attr
	e.c.check("chmod", e.fs.SetAttr(caller, id, &AttrChange{Valid: SetMode, Mode: 0o4711}, &a))
	record := func(p string) string {
		var buf [128]byte
		n, err := unix.Getxattr(filepath.Join(e.o.Upper, p), dialect.OverrideUser, buf[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := record("f"); got != "12:0:4711:file" {
		t.Error("a chmod lost the owner:", got)
	}
	e.c.check("chown", e.fs.SetXattr(id, dialect.ChownXattr, []byte("-1:34"), 0))
	if got := record("f"); got != "12:34:0711:file" {
		t.Error(got)
	}
	for _, bad := range []string{"", "1", "1:2:3", "x:1", "1:99999999999"} {
		if e := e.fs.SetXattr(id, dialect.ChownXattr, []byte(bad), 0); e != unix.EINVAL {
			t.Errorf("%q: %v", bad, e)
		}
	}
	dev := e.c.create("null", 0o600)
	e.c.check("mknod", e.fs.SetXattr(dev, dialect.MknodXattr, []byte("20666:259"), 0))
	if got := record("null"); got != "0:0:0666:char-1-3" {
		t.Error(got)
	}
	if m := e.c.walk("null").Attr.Mode; m != unix.S_IFCHR|0o666 {
		t.Errorf("mode %o", m)
	}
	if errno := e.fs.SetXattr(id, dialect.MknodXattr, []byte("20666:259"), 0); errno != unix.EINVAL {
		t.Error("a file with data became a device:", errno)
	}
	if errno := e.fs.SetXattr(id, "user.plyfs.other", []byte("x"), 0); errno != unix.EPERM {
		t.Error("another name of ours:", errno)
	}
	var none [8]byte
	if _, errno := e.fs.GetXattr(id, dialect.BaseXattr, none[:]); errno != unix.ENODATA {
		t.Error("a client sees the record of the lower file:", errno)
	}
}

// TestOrdersNeedSquash: where users have ids of their own, nobody gives files
// away by an xattr.
func TestOrdersNeedSquash(t *testing.T) {
	e := liveEnv(t)
	e.o.XattrPerm = 2
	e.file("lower1/f", "x")
	e.open()
	if errno := e.fs.SetXattr(e.c.id("f"), dialect.ChownXattr, []byte("1:1"), 0); errno != unix.EOPNOTSUPP {
		t.Error(errno)
	}
}
