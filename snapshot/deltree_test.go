package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeleteTree: deeper than a path can be, with more names than fit into a
// buffer, and links that lead out.
func TestDeleteTree(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	must(t, os.WriteFile(outside, []byte("stays"), 0o600))
	top := filepath.Join(dir, "top")
	must(t, os.Mkdir(top, 0o700))
	must(t, os.Symlink(outside, top+"/link"))
	must(t, os.Symlink(dir, top+"/dirlink"))
	must(t, os.Link(outside, top+"/hard"))
	for i := range 3000 {
		must(t, os.WriteFile(fmt.Sprintf("%s/%0100d", top, i), nil, 0o600))
	}
	at, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 3 * maxDepth {
		must(t, unix.Mkdirat(at, strings.Repeat("d", 50), 0o700))
		next, err := unix.Openat(at, strings.Repeat("d", 50), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	must(t, deleteTree(t.Context(), top))
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "outside" {
		t.Errorf("left: %v", left)
	}
	must(t, deleteTree(t.Context(), top)) // nothing there: nothing to do
	must(t, deleteTree(t.Context(), outside))
}

// TestDeleteTreeMount: a mount stops it, and keeps what is in it; the rest goes.
func TestDeleteTreeMount(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	dir := t.TempDir()
	top, precious := filepath.Join(dir, "top"), t.TempDir()
	must(t, errors.Join(os.MkdirAll(top+"/a/mnt", 0o700), os.MkdirAll(top+"/b/c", 0o700), os.WriteFile(top+"/a/file", nil, 0o600)))
	must(t, os.WriteFile(precious+"/photo", nil, 0o600))
	must(t, unix.Mount(precious, top+"/a/mnt", "", unix.MS_BIND, ""))
	must(t, unix.Mount(precious+"/photo", top+"/a/file", "", unix.MS_BIND, ""))
	err := deleteTree(t.Context(), top)
	if err == nil || !strings.Contains(err.Error(), "mounted on "+top+"/a/") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(precious + "/photo"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(top + "/b"); err == nil {
		t.Error("what isn't mounted stays")
	}
	must(t, errors.Join(unix.Unmount(top+"/a/mnt", 0), unix.Unmount(top+"/a/file", 0)))
	must(t, deleteTree(t.Context(), top))
}
