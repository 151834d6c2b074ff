package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"
)

// upper is the layer directory behind a key: the mount is named by its id.
func (w *world) upper(key string) string {
	w.t.Helper()
	m, err := w.Mounts(context.Background(), key)
	must(w.t, err)
	return filepath.Join(w.root(), "snapshots", filepath.Base(m[0].Source), "fs")
}

// TestUsage: what the server has counted is what a walk finds, whatever was
// done to the files.
func TestUsage(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) {
		write(t, dir+"/a/file", "of the base")
		write(t, dir+"/a/gone", "of the base")
		write(t, dir+"/b/moved", "of the base")
		must(t, os.Link(dir+"/a/file", dir+"/a/hard"))
	})
	m := w.prepare("c", "base", nil)
	// What was removed is counted off when the kernel forgets it, a moment later.
	check := func(what string) {
		t.Helper()
		var u snapshots.Usage
		var du fs.Usage
		for range 500 {
			var err error
			u, err = w.Usage(ctx, "c")
			must(t, err)
			du, err = fs.DiskUsage(ctx, w.upper("c"))
			must(t, err)
			if u == snapshots.Usage(du) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s: counted %+v, a walk finds %+v", what, u, du)
	}
	check("new")
	big := make([]byte, 3<<20)
	w.with(m, func(dir string) {
		for _, step := range []struct {
			what string
			do   func() error
		}{
			{"create", func() error { return os.WriteFile(dir+"/new", big, 0o644) }},
			{"append to a lower file", func() error { return os.WriteFile(dir+"/a/file", big[:5000], 0o644) }},
			{"truncate", func() error { return os.Truncate(dir+"/new", 1<<20) }},
			{"remove a lower file", func() error { return os.Remove(dir + "/a/gone") }},
			{"create it again", func() error { return os.WriteFile(dir+"/a/gone", big[:100], 0o644) }},
			{"rename", func() error { return os.Rename(dir+"/a/gone", dir+"/a/here") }},
			{"rename over", func() error { return os.Rename(dir+"/a/here", dir+"/new") }},
			{"rename a lower directory", func() error { return os.Rename(dir+"/b", dir+"/c") }},
			{"directories", func() error { return os.MkdirAll(dir+"/d/e/f", 0o755) }},
			{"rename over a directory", func() error { return errors.Join(os.Mkdir(dir+"/g", 0o755), unix.Rename(dir+"/g", dir+"/d/e/f")) }},
			{"symlink, fifo", func() error { return errors.Join(os.Symlink("x", dir+"/d/s"), unix.Mkfifo(dir+"/d/fifo", 0o600)) }},
			{"hard link", func() error { return os.Link(dir+"/new", dir+"/d/l") }},
			{"remove one name", func() error { return os.Remove(dir + "/new") }},
			{"remove all", func() error { return os.RemoveAll(dir + "/d") }},
			{"remove lower directories", func() error { return os.RemoveAll(dir + "/a") }},
		} {
			must(t, step.do())
			check(step.what)
		}
		f, err := os.Create(dir + "/held")
		must(t, err)
		_, err = f.Write(big)
		must(t, errors.Join(err, f.Sync(), os.Remove(dir+"/held")))
		u, err := w.Usage(ctx, "c")
		must(t, err)
		if u.Size < 3<<20 {
			t.Errorf("a file that is removed and open: counted %d", u.Size)
		}
		must(t, f.Close())
	})
	eventually(t, "a removed file is counted off when it is closed", func() bool {
		u, err := w.Usage(ctx, "c")
		return err == nil && u.Size < 1<<20
	})
	check("at the end")

	upper := w.upper("c")
	must(t, w.Commit(ctx, "top", "c"))
	u, err := w.Usage(ctx, "top")
	must(t, err)
	if du, err := fs.DiskUsage(ctx, upper); err != nil || u != snapshots.Usage(du) {
		t.Errorf("committed: %+v, a walk finds %+v, %v", u, du, err)
	}
}

// TestUsageOfUnwrittenData: what a program has written and the kernel holds back
// for half a minute is asked for; nobody syncs or closes the file.
func TestUsageOfUnwrittenData(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "text") })
	w.with(w.prepare("c", "base", nil), func(dir string) {
		f, err := os.Create(dir + "/new")
		must(t, err)
		_, err = f.Write(make([]byte, 3<<20))
		must(t, err)
		for range 100 { // the writing is under way when Usage answers
			u, err := w.Usage(ctx, "c")
			must(t, err)
			if u.Size >= 3<<20 {
				must(t, f.Close())
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error("what the kernel holds is not counted")
	})
}

// TestUsageTellsOfLostData: a write that failed behind the program's back is an
// error of Usage, and of the Commit after it.
func TestUsageTellsOfLostData(t *testing.T) {
	if !inBox(t) {
		return
	}
	t.Setenv("PLYFS_FAIL", fmt.Sprintf("write:%d", unix.EIO)) // the server has it
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "text") })
	w.with(w.prepare("c", "base", nil), func(dir string) {
		f, err := os.Create(dir + "/new")
		must(t, err)
		_, err = f.WriteString("lost")
		must(t, err)
		eventually(t, "Usage tells of it", func() bool {
			_, err = w.Usage(ctx, "c")
			return errors.Is(err, unix.EIO)
		})
		if err := w.Commit(ctx, "top", "c"); !errors.Is(err, unix.EIO) {
			t.Errorf("Commit says %v", err)
		}
		_ = f.Close() // tells of it, too
	})
}

// TestUsageOfExtraction: a layer that no server has seen is counted when it is
// committed, once.
func TestUsageOfExtraction(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	m := w.prepare("x", "", map[string]string{"containerd.io/snapshot.ref": "sha256:1"})
	w.with(m, func(dir string) { write(t, dir+"/f", "text") })
	must(t, w.Commit(ctx, "sha256:1", "x"))
	u, err := w.Usage(ctx, "sha256:1")
	must(t, err)
	if u.Inodes != 2 || u.Size < 4096 {
		t.Errorf("%+v", u)
	}
	w.stop()
	w.start()
	if again, err := w.Usage(ctx, "sha256:1"); err != nil || again != u {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
}

// TestMaxSize: the label is a limit that programs in the mount run into.
func TestMaxSize(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	for _, parent := range []string{"", "base"} {
		if parent != "" {
			w.layer(parent, "", func(dir string) { write(t, dir+"/f", "text") })
		}
		key := "limited on " + parent
		m := w.prepare(key, parent, map[string]string{"containerd.io/snapshot/max-size": "1048576"})
		w.with(m, func(dir string) {
			var st unix.Statfs_t
			must(t, unix.Statfs(dir, &st))
			if total := st.Blocks * uint64(st.Frsize); total > 1<<20 {
				t.Errorf("df shows %d bytes", total)
			}
			f, err := os.Create(dir + "/big")
			must(t, err)
			_, err = f.Write(make([]byte, 4<<20))
			err = errors.Join(err, f.Sync(), f.Close())
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("4 MiB into 1 MiB: %v", err)
			}
		})
		must(t, w.Remove(ctx, key))
	}
	for _, bad := range []string{"", "0", "-1", "1k"} {
		if _, err := w.Prepare(ctx, "bad", "", snapshots.WithLabels(map[string]string{"containerd.io/snapshot/max-size": bad})); err == nil {
			t.Errorf("max-size=%q is taken", bad)
		}
	}
}
