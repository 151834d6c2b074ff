package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
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
	i := 0
	for ; full == nil; i++ {
		full = os.WriteFile(fmt.Sprint(filler, "/", i), make([]byte, 1<<17), 0o600)
	}
	if !errors.Is(full, unix.ENOSPC) {
		t.Fatal(full)
	}
	if _, err := w.Prepare(ctx, "new", "base"); !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "\n") || w.has("new") {
		t.Errorf("no room for data: %v", err)
	}
	must(t, w.Cleanup(ctx)) // or it gives names back while we take them
	for full, i = nil, 0; full == nil; i++ {
		full = os.WriteFile(fmt.Sprint(filler, "/empty", i), nil, 0o600)
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

// TestFullDiskUnderMount: a container writes more than there is room for, and the
// disk is full when the calls come. What it has lost Commit tells; what needs no
// room works, the way out among it.
func TestFullDiskUnderMount(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.stop()
	must(t, unix.Mount("full", w.root(), "tmpfs", 0, "size=8m"))
	defer func() { must(t, unix.Unmount(w.root(), unix.MNT_DETACH)) }()
	w.start()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	w.prepare("r", "base", nil)
	file, err := os.Create(m[0].Source + "/new")
	must(t, err)
	filler := w.fill()
	text := strings.Repeat("text", 1<<14)
	_, err = file.WriteString(text)
	if err == nil { // the kernel holds it back
		err = w.Commit(ctx, "top", "c")
		if err != nil && (!strings.Contains(err.Error(), "snapshot c") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("commit: %v", err)
		}
	}
	if !errors.Is(err, unix.ENOSPC) || !w.has("c") || w.has("top") {
		t.Errorf("commit on a full disk: %v", err)
	}
	for what, call := range map[string]func() error{
		"usage":  func() error { _, err := w.Usage(ctx, "base"); return err },
		"mounts": func() error { _, err := w.Mounts(ctx, "c"); return err },
		"stat":   func() error { _, err := w.Stat(ctx, "c"); return err },
		"update": func() error {
			_, err := w.Update(ctx, snapshots.Info{Name: "base", Labels: map[string]string{"a": "b"}}, "labels.a")
			return err
		},
		"remove":  func() error { return w.Remove(ctx, "r") },
		"cleanup": func() error { return w.Cleanup(ctx) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s on a full disk: %v", what, err)
		}
	}
	if got := read(t, m[0].Source+"/f"); got != "base" || len(w.list()) != 2 {
		t.Errorf("f: %q, records: %q", got, w.list())
	}
	must(t, os.Remove(filler))
	_, err = file.WriteAt([]byte(text), 0)
	must(t, err)
	upper := w.upper("c")
	must(t, w.Commit(ctx, "top", "c"))
	if read(t, upper+"/new") != text {
		t.Error("what was written again isn't whole in the layer")
	}
	must(t, file.Close())
	must(t, errors.Join(w.Remove(ctx, "top"), w.Remove(ctx, "base"), w.Cleanup(ctx)))
	w.nothingLeft()
}

// fill leaves no page free below the root, and gives the file that took them.
func (w *world) fill() string {
	w.t.Helper()
	f, err := os.Create(w.root() + "/filler")
	must(w.t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		w.t.Fatal(err)
	}
	must(w.t, f.Close())
	return f.Name()
}

// id is what the mount of a key is named by.
func (w *world) id(key string) string {
	w.t.Helper()
	m, err := w.Mounts(context.Background(), key)
	must(w.t, err)
	return filepath.Base(m[0].Source)
}
