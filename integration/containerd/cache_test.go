package containerd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// brought is a set of programs that is brought once.
type brought struct {
	edition string // changes when what is brought does
	bring   func(dir string) error
}

var (
	debian16 = brought{"containerd-debian-1", fromDebian}
	modern   = brought{"containerd-2.4.2-2", fromModules}
)

// dir is the directory with the programs.
func (b brought) dir(t *testing.T) string {
	t.Helper()
	parent, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(parent, ".lock-"+b.edition))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, b.edition)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	t.Log("bringing", b.edition, "to", dir)
	fresh, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	if err := b.bring(fresh); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(fresh, 0o755), os.Rename(fresh, dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func cacheDir() (string, error) {
	parent := os.Getenv("PLYFS_CACHE")
	if parent == "" {
		parent = "/var/cache"
		if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" || os.Geteuid() != 0 {
			var err error
			if parent, err = os.UserCacheDir(); err != nil {
				return "", err
			}
		}
		parent = filepath.Join(parent, "plyfs-tests")
	}
	return parent, os.MkdirAll(parent, 0o755)
}

// fromDebian takes the programs out of the package: an install would start a
// service.
func fromDebian(dir string) error {
	script := `cd "$1"; chmod 755 .; apt-get -o APT::Sandbox::User=root download -q containerd; dpkg -x containerd_*.deb x; mv x/usr/bin/* .; rm -rf x containerd_*.deb`
	out, err := exec.Command("sh", "-euc", script, "sh", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("containerd from Debian (it needs the machine's apt sources): %w\n%s", err, out)
	}
	return nil
}

// fromModules builds what ../peers pins.
func fromModules(dir string) error {
	const module = "github.com/containerd/containerd/v2/cmd/"
	for _, build := range []struct {
		cgo  string
		args []string
	}{
		{"0", []string{module + "containerd", module + "containerd-shim-runc-v2", module + "ctr"}},
		// Debian's has no idmapped mounts, which a pod in a user namespace needs.
		{"1", []string{"github.com/opencontainers/runc"}},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-tags", "no_btrfs", "-ldflags", "-s -w", "-o", dir + "/"}, build.args...)...)
		cmd.Dir = "../peers"
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("containerd from modules: %w\n%s", err, out)
		}
	}
	return nil
}

// needs says what the tests of this package need of the machine.
func needs(t *testing.T) *harness.User {
	t.Helper()
	require.FUSE(t)
	require.Overlay(t)
	require.Tool(t, "runc")
	require.Tool(t, "busybox")
	return harness.Root(t)
}
