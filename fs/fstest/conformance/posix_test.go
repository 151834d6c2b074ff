package conformance

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// binary is the command under test. Boxes inherit its path.
const binary = "PLYFS_BIN"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(binary) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "plyfs-conformance-")
	if err == nil {
		defer os.RemoveAll(dir)
		cmd := exec.Command("go", "build", "-o", dir+"/plyfs", "github.com/plyfs/plyfs/cmd/plyfs")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(binary, dir+"/plyfs")
	return m.Run()
}

// excused are tests that fail on every filesystem of the kernel, with the reason.
var excused = map[string]string{
	"FcntlFlockLocksFile": "wants two record locks of one process to exclude each other, which POSIX says they don't",
}

// TestPosixtest runs go-fuse's posixtest on kernel overlayfs, which shows what a
// union filesystem can do on this machine, and on plyfs.
func TestPosixtest(t *testing.T) {
	require.FUSE(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	for _, fs := range []struct {
		name  string
		mount func(t *testing.T, dir, options string)
	}{
		{"overlayfs", overlay},
		{"plyfs", plyfs},
	} {
		for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
			t.Run(fs.name+"/"+name, func(t *testing.T) {
				if why := excused[name]; why != "" {
					t.Skip(why)
				}
				base := t.TempDir()
				if name == "XAttrLarge" { // more than ext4 takes
					nsbox.Tmpfs(t, base, "mode=755")
				}
				posixtest.All[name](t, mounted(t, base, fs.mount))
			})
		}
	}
}

// mounted mounts a fresh union in base and gives its root.
func mounted(t *testing.T, base string, mount func(t *testing.T, dir, options string)) string {
	var o []string
	for _, d := range []string{"lowerdir", "upperdir", "workdir", "mnt"} {
		dir := filepath.Join(base, d)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if d != "mnt" {
			o = append(o, d+"="+dir)
		}
	}
	mnt := filepath.Join(base, "mnt")
	mount(t, mnt, strings.Join(o, ","))
	t.Cleanup(func() { unmount(t, mnt) })
	return mnt
}

func overlay(t *testing.T, dir, options string) {
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
}

func plyfs(t *testing.T, dir, options string) {
	if out, err := exec.Command(os.Getenv(binary), "mount", "-o", options, dir).CombinedOutput(); err != nil {
		t.Fatalf("plyfs mount: %v: %s", err, out)
	}
}

func unmount(t *testing.T, dir string) {
	err := unix.Unmount(dir, 0)
	for end := time.Now().Add(5 * time.Second); err == unix.EBUSY && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		err = unix.Unmount(dir, 0)
	}
	if err != nil {
		t.Errorf("unmount: %v", err)
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
}
