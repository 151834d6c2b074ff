package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Binary is the program under test: a copy that every user can run, so that
// the checkout may lie in a closed directory. Beside it lies a link to it
// with the name fuse-overlayfs.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// DropIn is the program under test under the name fuse-overlayfs.
func DropIn(t testing.TB) string {
	t.Helper()
	return filepath.Join(filepath.Dir(Binary(t)), "fuse-overlayfs")
}

// IsPlyfs is false when the tests try another implementation.
func IsPlyfs() bool {
	name := filepath.Base(os.Getenv("PLYFS_BIN"))
	return name != "fuse-overlayfs"
}

var binary = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(base, "bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "plyfs")
	if from := os.Getenv("PLYFS_BIN"); from != "" {
		path = filepath.Join(dir, filepath.Base(from))
		if out, err := exec.Command("install", "-m", "0755", from, path).CombinedOutput(); err != nil {
			return "", fmt.Errorf("PLYFS_BIN: %v: %s", err, out)
		}
	} else if err := build(path, "./cmd/plyfs"); err != nil {
		return "", err
	}
	link := filepath.Join(dir, "fuse-overlayfs")
	if path == link {
		return path, nil
	}
	return path, os.Symlink("plyfs", link)
})

// Build compiles a command of this module to a place where every user can run
// it; pkg is relative to the module's root.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(Binary(t)), filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := build(path, pkg); err != nil {
		t.Fatal(err)
	}
	return path
}

// BuildWith builds a program with a variable set to something else, and under
// another name.
func BuildWith(t testing.TB, pkg, name, variable, value string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(Binary(t)), name)
	if err := build(path, "-ldflags=-X "+variable+"="+value, pkg); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(to string, args ...string) error {
	root, err := Source()
	if err != nil {
		return err
	}
	flags := []string{"build", "-o", to}
	if runtime.GOARCH == "amd64" { // what is shipped has an entry of its own
		flags = append(flags, "-ldflags=github.com/plyfs/plyfs/cmd/plyfs=-E main.entry")
	}
	cmd := exec.Command("go", append(flags, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %v\n%s", args, err, out)
	}
	return os.Chmod(to, 0o755)
}

// Source is the root of this module.
func Source() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
