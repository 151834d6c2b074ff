package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// TestBadMetadata: metadata that is damaged or gone is one line, and costs no
// layer.
func TestBadMetadata(t *testing.T) {
	if !inBox(t) {
		return
	}
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.stop()
	db := w.root() + "/metadata.db"
	whole := read(t, db)
	for _, bad := range []struct {
		size int // of what is left; -1 is no file
		want string
	}{
		{-1, "is missing or empty"},
		{0, "is missing or empty"},
		{1, "cannot be read"},
		{4096, "cannot be read"},
		{8192, "cannot be read"}, // bbolt maps more than there is
		{12288, "cannot be read"},
		{16384, "cannot be read"},
	} {
		must(t, os.Remove(db))
		if bad.size >= 0 {
			must(t, os.WriteFile(db, []byte(whole[:bad.size]), 0o600))
		}
		s, pool, err := open(w.root())
		if err == nil {
			_ = s.Close()
			pool.Close()
			t.Errorf("metadata of %d bytes is taken", bad.size)
		} else if msg := err.Error(); !strings.Contains(msg, bad.want) || !strings.Contains(msg, db) || strings.Contains(msg, "\n") {
			t.Errorf("metadata of %d bytes: %v; want one line with %q", bad.size, err, bad.want)
		}
		if bad.size < 0 {
			must(t, os.WriteFile(db, nil, 0o600))
		}
	}
	must(t, os.Remove(db))
	must(t, os.WriteFile(db, []byte(whole), 0o600))
	w.start()
	w.with(w.prepare("c", "base", nil), func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
	})
}

// TestFullDisk: calls that need space fail with one line as long as there is
// none, and leave nothing; those that need none work.
func TestFullDisk(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.stop()
	must(t, os.RemoveAll(w.root()))
	must(t, os.Mkdir(w.root(), 0o700))
	must(t, unix.Mount("tmpfs", w.root(), "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { _ = unix.Unmount(w.root(), unix.MNT_DETACH) })
	w.start()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.with(w.prepare("c", "base", nil), func(dir string) {
		fill, err := os.Create(w.root() + "/fill")
		must(t, err)
		for err == nil {
			_, err = fill.Write(make([]byte, 4096))
		}
		must(t, fill.Close())
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		before := names(t, w.root()+"/snapshots")
		failed := 0
		for i := range 20 {
			if _, err := w.Prepare(ctx, fmt.Sprintf("p%d", i), "base"); err != nil {
				failed++
				if msg := err.Error(); strings.Contains(msg, "\n") || !strings.Contains(msg, "no space left") {
					t.Errorf("a full disk: %q", msg)
				}
				if _, err := w.Stat(ctx, fmt.Sprintf("p%d", i)); !errdefs.IsNotFound(err) {
					t.Errorf("what failed is there: %v", err)
				}
			} else {
				before = append(before, "")
			}
		}
		if failed == 0 {
			t.Error("no call failed")
		}
		if after := names(t, w.root()+"/snapshots"); len(after) != len(before) {
			t.Errorf("snapshots: %v, were %v", after, before)
		}
		if _, err := os.Stat(dir + "/f"); err != nil {
			t.Errorf("a container on a full disk: %v", err)
		}
		if err := os.WriteFile(dir+"/g", make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("a write: %v", err)
		}
		if u, err := w.Usage(ctx, "c"); err != nil {
			t.Errorf("usage: %+v, %v", u, err)
		}
		must(t, os.Remove(w.root()+"/fill"))
		// The server looks for space ten times a second.
		for deadline := time.Now().Add(10 * time.Second); os.WriteFile(dir+"/g", []byte("again"), 0o600) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("there is space again, and no file can be written")
			}
		}
	})
	_, err := w.Prepare(ctx, "later", "base")
	must(t, err)
	var keys []string
	must(t, w.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindActive {
			keys = append(keys, info.Name)
		}
		return nil
	}))
	for _, key := range keys {
		must(t, w.Remove(ctx, key))
	}
	must(t, w.Remove(ctx, "base"))
	must(t, w.Cleanup(ctx))
	if left := names(t, w.root()+"/snapshots"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
