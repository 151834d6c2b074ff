package images

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image/ship"
)

// TestHostile unpacks archives that want to get out of the root, or to mean on
// disk what they don't say. Each is refused, or ends inside; nothing is made
// outside of the store, and nothing is left of what was refused.
func TestHostile(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("../", 40)
	for _, c := range []struct {
		name    string
		files   []file
		refused string   // in the error
		inside  []string // paths that are there
		not     []string // paths that aren't
	}{
		{name: "dots", files: []file{reg("../../evil", "x"), reg("a/../../b", "y")}, inside: []string{"evil", "b"}},
		{name: "deep dots", files: []file{reg(long+outside[1:], "x")}, inside: []string{outside[1:]}},
		{name: "absolute", files: []file{reg(outside, "x")}, inside: []string{outside[1:]}},
		{name: "absolute symlink", files: []file{symlink("l", "/"), reg("l/evil", "x")}, inside: []string{"evil"}},
		{name: "symlink out", files: []file{symlink("l", long+filepath.Dir(outside)[1:]), reg("l/outside", "x")}, inside: []string{outside[1:]}},
		{name: "symlink as file", files: []file{symlink("l", outside), reg("l", "x")}, inside: []string{"l"}},
		{name: "symlink as directory", files: []file{symlink("l", filepath.Dir(outside)), dir("l"), reg("l/outside", "x")}, inside: []string{"l/outside"}},
		{name: "hard link out", files: []file{hardlink("h", outside)}, refused: "no such file"},
		{name: "hard link by dots", files: []file{hardlink("h", long+outside[1:])}, refused: "no such file"},
		{name: "hard link by symlink", files: []file{symlink("l", filepath.Dir(outside)), hardlink("h", "l/outside"), reg("h", "x")}, refused: "no such file"},
		{name: "hard link to symlink", files: []file{symlink("l", outside), hardlink("h", "l"), reg("h", "x")}, inside: []string{"h"}},
		{name: "directory through file", files: []file{reg("f", "x"), reg("f/g", "y")}, refused: "not a directory"},
		{name: "whiteout of root", files: []file{reg(".wh.", "")}, refused: "deletes no name"},
		{name: "whiteout of dot", files: []file{reg("a/.wh..", "")}, refused: "deletes no name"},
		{name: "whiteout of dots", files: []file{reg("a/.wh...", "")}, refused: "deletes no name"},
		{name: "duplicate names", files: []file{reg("d", "1"), dir("d"), reg("d/x", "2"), reg("d", "3")}, inside: []string{"d"}, not: []string{"d/x"}},
		{name: "bookkeeping of aufs", files: []file{reg(".wh..wh.plnk/1.2", "x"), reg(".wh..wh.aufs", "x"), reg("ok", "")}, inside: []string{"ok"}, not: []string{".wh..wh.aufs"}},
		{name: "device 0:0", files: []file{{tar.Header{Typeflag: tar.TypeChar, Name: "w", Mode: 0o600}, ""}, reg("ok", "")}, inside: []string{"ok"}, not: []string{"w"}},
		{name: "device out of range", files: []file{{tar.Header{Typeflag: tar.TypeBlock, Name: "w", Devmajor: 1 << 20, Devminor: 1, Format: tar.FormatGNU}, ""}}, refused: "no device"},
		{name: "owner -1", files: []file{{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1<<32 - 1, Format: tar.FormatGNU}, ""}}, refused: "no owner"},
		{name: "marks in attributes", files: []file{{tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.redirect": "/etc",
			"SCHILY.xattr.user.containers.override_stat": "0:0:104755", "SCHILY.xattr.user.fine": "1",
		}}, ""}}, inside: []string{"d"}},
		{name: "bomb", files: []file{reg("big", strings.Repeat("0", 2<<20))}, refused: "more than 1048576 bytes"},
		{name: "bomb behind the end", files: nil, refused: "decompresses to more"},
		{name: "many entries", files: manyFiles(600), refused: "more than 500 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShipper(t)
			s.Limits = ship.Limits{Bytes: 1 << 20, Entries: 500}
			plain := tarOf(t, c.files...)
			if c.name == "bomb behind the end" {
				plain = append(plain, make([]byte, 80<<20)...)
			}
			b := newBuilder(t).files(reg("base", "")).layer(ocispec.MediaTypeImageLayerGzip, plain)
			_, err := s.Load(context.Background(), b.dir("x"), "", ship.ThisPlatform())
			if text, e := os.ReadFile(outside); e != nil || string(text) != "mine" {
				t.Fatalf("the file outside is %q, %v", text, e)
			}
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("error %v, want one with %q", err, c.refused)
				}
				nothingNew(t, s)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			root := layerDirs(t, s, "x")[0]
			for _, p := range c.inside {
				var st unix.Stat_t
				if err := unix.Lstat(filepath.Join(root, p), &st); err != nil {
					t.Errorf("%s: %v", p, err)
				}
			}
			for _, p := range c.not {
				if _, err := os.Lstat(filepath.Join(root, p)); err == nil {
					t.Errorf("%s is there", p)
				}
			}
			if c.name == "marks in attributes" {
				checkMarks(t, filepath.Join(root, "d"))
			}
		})
	}
}

func manyFiles(n int) (out []file) {
	for i := range n {
		out = append(out, reg("f"+strings.Repeat("x", i%50)+string(rune('a'+i%26)), ""))
	}
	return out
}

// nothingNew fails when a refused layer is there, or a part of it.
func nothingNew(t *testing.T, s *ship.Shipper) {
	t.Helper()
	if list, err := s.Store.List(); err != nil || len(list) > 0 {
		t.Errorf("images %v, %v", list, err)
	}
	entries, err := os.ReadDir(filepath.Join(s.Store.Dir(), "layers"))
	if err != nil {
		t.Fatal(err)
	}
	dirs := 0
	for _, e := range entries {
		if e.IsDir() {
			dirs++
		}
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left", e.Name())
		}
	}
	if dirs > 1 { // the base
		t.Errorf("%d layers are there", dirs)
	}
}

func checkMarks(t *testing.T, path string) {
	t.Helper()
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"overlay", "override"} {
		if bytes.Contains(list[:n], []byte(bad)) {
			t.Errorf("attributes %q", list[:n])
		}
	}
	if !bytes.Contains(list[:n], []byte("user.fine")) {
		t.Errorf("attributes %q", list[:n])
	}
}
