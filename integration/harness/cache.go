package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Cached gives a directory with what bring puts into it, at the first call on a
// machine. edition names it, and changes when what is brought does. It is kept
// in $PLYFS_CACHE, else in $XDG_CACHE_HOME or for root in /var/cache.
func Cached(t testing.TB, edition string, bring func(dir string) error) string {
	t.Helper()
	parent, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(parent, ".lock-"+edition))
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
	t.Log("bringing", edition, "to", dir)
	fresh, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	if err := bring(fresh); err != nil {
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
