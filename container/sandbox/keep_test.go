package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPatch(t *testing.T) {
	b := newBox(t)
	b.write(b.host, "c", "one\ntwo\nthree\n")
	b.write(b.host, "d", "gone\n")
	b.begin()
	b.write(b.upper, "c", "one\n2\nthree\n")
	b.whiteout("d")
	b.write(b.upper, "n", "new\n")
	b.write(b.upper, "bin", "\x00\x01")
	var out bytes.Buffer
	b.must(b.v.Patch(&out, b.changes()))
	for _, want := range []string{
		"diff --git a/c b/c\n--- a/c\n+++ b/c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n",
		"diff --git a/d b/d\ndeleted file mode 100644\n--- a/d\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-gone\n",
		"diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1,1 @@\n+new\n",
		"Binary files /dev/null and b/bin differ\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	b.v.Stat(&out, b.changes())
	for _, want := range []string{" /c   | 2 +-\n", " /d   | 1 -\n", " /n   | 1 +\n", " /bin | Bin 0 -> 2 bytes\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	b := &box{t: t, upper: filepath.Join(dir, "upper")}
	b.must(os.Mkdir(b.upper, 0o755))
	b.write(b.upper, "a/f", "one")
	b.must(os.Link(filepath.Join(b.upper, "a/f"), filepath.Join(b.upper, "a/g")))
	b.whiteout("w1")
	b.must(os.Link(filepath.Join(b.upper, "w1"), filepath.Join(b.upper, "w2")))
	b.must(unix.Setxattr(filepath.Join(b.upper, "a"), "user.overlay.opaque", []byte("y"), 0))
	c, err := MakeCheckpoint(dir, "")
	if err != nil || c.Label != "1" {
		t.Fatal(c, err)
	}
	if _, err := MakeCheckpoint(dir, "1"); err == nil {
		t.Error("two checkpoints of one label")
	}
	if _, err := MakeCheckpoint(dir, "../x"); err == nil {
		t.Error("a label that is a path")
	}
	b.write(b.upper, "a/f", "two")
	b.must(os.Remove(filepath.Join(b.upper, "w1")))
	if _, err := Rollback(dir, "none"); err == nil || !strings.Contains(err.Error(), "there is 1") {
		t.Error(err)
	}
	for range 2 { // the checkpoint stays
		_, err = Rollback(dir, "")
		b.must(err)
		b.write(b.upper, "a/h", "extra")
	}
	_, err = Rollback(dir, "1")
	b.must(err)
	var f, g, w unix.Stat_t
	b.must(unix.Lstat(filepath.Join(b.upper, "a/f"), &f))
	b.must(unix.Lstat(filepath.Join(b.upper, "a/g"), &g))
	b.must(unix.Lstat(filepath.Join(b.upper, "w1"), &w))
	text, _ := os.ReadFile(filepath.Join(b.upper, "a/f"))
	if f.Ino != g.Ino || w.Mode != unix.S_IFCHR|w.Mode&0o777 || w.Rdev != 0 || string(text) != "one" {
		t.Error("the upper is not what it was:", string(text), f.Ino == g.Ino, w.Mode)
	}
	var buf [8]byte
	if n, err := unix.Getxattr(filepath.Join(b.upper, "a"), "user.overlay.opaque", buf[:]); err != nil || string(buf[:n]) != "y" {
		t.Error("the mark of the directory is gone:", err)
	}
	if _, err := os.Stat(filepath.Join(b.upper, "a/h")); err == nil {
		t.Error("a file from after the checkpoint is there")
	}
}

func TestLockIsTaken(t *testing.T) {
	dir := t.TempDir()
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	l.Close()
	l, err = Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/a b":     "/a b",
		"/a\nb":    `"/a\nb"`,
		"/a\x1b[m": `"/a\033[m"`,
		`/a"b`:     `"/a\"b"`,
		"/ü":       "/ü",
	} {
		if got := Quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
