package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// edition changes when makebase.sh does, so that no old base is taken.
const edition = "bookworm-1"

// cache gives the directory with base.tar and repo/, made at the first call
// on a machine.
func cache(t *testing.T) string {
	t.Helper()
	require.Tool(t, "mmdebstrap")
	parent := os.Getenv("PLYFS_CACHE")
	if parent == "" {
		parent = "/var/cache"
		if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" || os.Geteuid() != 0 {
			var err error
			if parent, err = os.UserCacheDir(); err != nil {
				t.Fatal(err)
			}
		}
		parent = filepath.Join(parent, "plyfs-tests")
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(parent, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, edition)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	t.Log("making the Debian base in", dir)
	fresh, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	cmd := exec.Command("./makebase.sh", fresh)
	cmd.Env = append(os.Environ(), "TMPDIR=/var/tmp", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("makebase.sh: %v (it needs the machine's apt sources)\n%s", err, out)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
