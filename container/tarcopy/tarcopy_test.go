package tarcopy

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestRoundTrip(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(from, "d/e"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "d/e/f"), []byte("text"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(from, "d/link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Pack(&b, open(t, from), "/d"); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(bytes.NewReader(b.Bytes()), open(t, to), "/"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "d/e/f")); err != nil || string(text) != "text" {
		t.Error(string(text), err)
	}
	if err := Unpack(&b, open(t, to), "/other"); err != nil {
		t.Fatal(err)
	}
	if l, err := os.Readlink(filepath.Join(to, "other/link")); err != nil || l != "/etc/passwd" {
		t.Error(l, err)
	}
}

// TestHostileStream: names that lead out, and links with something put behind
// them, change nothing outside.
func TestHostileStream(t *testing.T) {
	top := t.TempDir()
	to := filepath.Join(top, "to")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(top, "outside")
	if err := os.WriteFile(outside, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, all := range [][]tar.Header{
		{{Name: "../outside", Typeflag: tar.TypeReg}},
		{{Name: "/../../outside", Typeflag: tar.TypeReg}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/outside", Typeflag: tar.TypeReg}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "l", Typeflag: tar.TypeReg}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: top}, {Name: "l/", Typeflag: tar.TypeDir}, {Name: "l/outside", Typeflag: tar.TypeReg}},
		{{Name: "h", Typeflag: tar.TypeLink, Linkname: outside}, {Name: "h", Typeflag: tar.TypeReg}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range all {
			h.Mode = 0o644
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_ = Unpack(&b, open(t, to), "/") // an error is as good
		if text, _ := os.ReadFile(outside); string(text) != "as it was" {
			t.Fatalf("%v: changed to %q", all, text)
		}
	}
}
