package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk: what can't be written is said in one line and has not happened;
// when there is room again everything goes on.
func TestFullDisk(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.stop()
	must(t, unix.Mount("full", w.root(), "tmpfs", 0, "size=8m,nr_inodes=80"))
	defer func() { must(t, unix.Unmount(w.root(), unix.MNT_DETACH)) }()
	w.start()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.prepare("c", "base", nil)
	filler := w.root() + "/filler"
	must(t, os.Mkdir(filler, 0o700))
	var full error
	for i := 0; full == nil; i++ {
		full = os.WriteFile(fmt.Sprint(filler, "/", i), make([]byte, 1<<17), 0o600)
	}
	if !errors.Is(full, unix.ENOSPC) {
		t.Fatal(full)
	}
	calls := map[string]func() error{
		"prepare": func() error { _, err := w.Prepare(ctx, "new", "base"); return err },
		"view":    func() error { _, err := w.View(ctx, "new", "base"); return err },
	}
	for what, call := range calls {
		if err := call(); !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
		if w.has("new") {
			t.Errorf("%s has left a record", what)
		}
	}
	if got := read(t, w.state("m", w.id("c"), "f")); got != "base" {
		t.Errorf("what is mounted: %q", got)
	}
	must(t, os.RemoveAll(filler))
	w.prepare("new", "base", nil)
	must(t, w.Commit(ctx, "top", "c"))
	must(t, errors.Join(w.Remove(ctx, "new"), w.Remove(ctx, "top"), w.Remove(ctx, "base")))
	must(t, w.Cleanup(ctx))
	w.nothingLeft()
}

// id is what the mount of a key is named by.
func (w *world) id(key string) string {
	w.t.Helper()
	m, err := w.Mounts(context.Background(), key)
	must(w.t, err)
	return filepath.Base(m[0].Source)
}
