package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a root below a directory with something to escape to.
func tree(t *testing.T) (dir string, root int) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "root")
	for _, d := range []string{"root/a/b", "outside"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"up": "../../..", "abs": "/a", "out": filepath.Join(top, "outside"), "dangling": "new/deep", "loop": "loop",
		"a/back": "../x/../y", "chain": "dangling/more",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	return dir, root
}

func where(t *testing.T, fd int) string {
	t.Helper()
	defer unix.Close(fd)
	p, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestMkdirAll(t *testing.T) {
	for path, want := range map[string]string{
		"/": "", "/a/b": "/a/b", "/a/c/d": "/a/c/d", "up/x": "/x", "/abs/c": "/a/c", "/../../x": "/x",
		"dangling": "/new/deep", "dangling/z": "/new/deep/z", "chain": "/new/deep/more", "a/back": "/y", "a/back/q": "/y/q",
	} {
		dir, root := tree(t)
		fd, err := MkdirAll(root, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := where(t, fd); got != dir+want {
			t.Errorf("%s: %s, want %s", path, got, dir+want)
		}
	}
	dir, root := tree(t)
	if fd, err := MkdirAll(root, "loop/x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %d, %v", fd, err)
	}
	// A link to the host's directory leads to a new one of that name inside.
	fd, err := MkdirAll(root, "out/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := where(t, fd); got != dir+filepath.Dir(dir)+"/outside/x" {
		t.Errorf("out/x: %s", got)
	}
}

func TestTouch(t *testing.T) {
	dir, root := tree(t)
	for path, want := range map[string]string{"f": "/f", "p/q/f": "/p/q/f", "up/g": "/g", "a/b/f": "/a/b/f"} {
		fd, err := Touch(root, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := where(t, fd); got != dir+want {
			t.Errorf("%s: %s, want %s", path, got, dir+want)
		}
	}
}

func TestOpenPlain(t *testing.T) {
	_, root := tree(t)
	if fd, err := OpenPlain(root, "abs/b", unix.O_PATH); !errors.Is(err, unix.ELOOP) {
		t.Errorf("through a link: %d, %v", fd, err)
	}
	fd, err := OpenPlain(root, "a/b", unix.O_PATH)
	if err != nil {
		t.Error(err)
	}
	unix.Close(fd)
}
