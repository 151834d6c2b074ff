package treedump

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a small tree with one of each kind that needs no rights.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "d"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "d/f"), []byte("text"), 0o644))
	must(os.Link(filepath.Join(dir, "d/f"), filepath.Join(dir, "g")))
	must(os.Symlink("d/f", filepath.Join(dir, "s")))
	must(unix.Mkfifo(filepath.Join(dir, "p"), 0o600))
	return dir
}

func take(t *testing.T, dir string) *Tree {
	t.Helper()
	tr, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestEqualTreesHaveNoDifference(t *testing.T) {
	a, b := take(t, tree(t)), take(t, tree(t))
	if d := Diff("a", a, "b", b, nil); len(d) != 0 {
		t.Errorf("equal trees differ: %s", strings.Join(d, "\n"))
	}
	if len(a.Problems) != 0 {
		t.Errorf("a plain directory contradicts itself: %v", a.Problems)
	}
}

func TestEveryKindOfChangeShows(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"d/f: content": func(d string) error { return os.WriteFile(filepath.Join(d, "d/f"), []byte("TEXT"), 0o644) },
		"d/f: mode":    func(d string) error { return os.Chmod(filepath.Join(d, "d/f"), 0o640) },
		"p: only in a": func(d string) error { return os.Remove(filepath.Join(d, "p")) },
		"new: only in": func(d string) error { return os.Mkdir(filepath.Join(d, "new"), 0o755) },
		"g: nlink":     func(d string) error { return os.Remove(filepath.Join(d, "d/f")) },
		"names of one": func(d string) error { return os.Link(filepath.Join(d, "g"), filepath.Join(d, "h")) },
		"g: mtime":     func(d string) error { return unix.Utimes(filepath.Join(d, "g"), make([]unix.Timeval, 2)) },
		"s: target": func(d string) error {
			os.Remove(filepath.Join(d, "s"))
			return os.Symlink("x/y", filepath.Join(d, "s"))
		},
		"p: type":       func(d string) error { os.Remove(filepath.Join(d, "p")); return os.Mkdir(filepath.Join(d, "p"), 0o600) },
		"d/f: size":     func(d string) error { return os.Truncate(filepath.Join(d, "d/f"), 1) },
		"d: only in a:": func(d string) error { return os.RemoveAll(filepath.Join(d, "d")) },
	} {
		dir := tree(t)
		a := take(t, dir)
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		d := strings.Join(Diff("a", a, "b", take(t, dir), nil), "\n")
		if !strings.Contains(d, name) {
			t.Errorf("%q is not among the differences:\n%s", name, d)
		}
	}
}
