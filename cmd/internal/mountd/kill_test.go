package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/plyfs/plyfs/fs/fail"
)

// operateWord makes this test binary a daemon that does one thing.
const operateWord = "operate"

// operations are the calls that a daemon is killed in.
var operations = map[string]func(ctx context.Context, s snapshots.Snapshotter) error{
	"prepare": func(ctx context.Context, s snapshots.Snapshotter) error {
		_, err := s.Prepare(ctx, "new", "base")
		return err
	},
	"view": func(ctx context.Context, s snapshots.Snapshotter) error {
		_, err := s.View(ctx, "new", "top")
		return err
	},
	"commit": func(ctx context.Context, s snapshots.Snapshotter) error {
		if err := s.Commit(ctx, "committed", "c"); err != nil {
			return err
		}
		time.Sleep(10 * time.Second) // until what is done behind it is done
		return errors.New("it wasn't killed")
	},
	"remove": func(ctx context.Context, s snapshots.Snapshotter) error {
		if err := s.Remove(ctx, "c"); err != nil {
			return err
		}
		return s.(snapshots.Cleaner).Cleanup(ctx)
	},
	"cleanup": func(ctx context.Context, s snapshots.Snapshotter) error {
		return s.(snapshots.Cleaner).Cleanup(ctx)
	},
}

func operate(root, what string) error {
	s, _, err := open(root)
	if err != nil {
		return err
	}
	return operations[what](context.Background(), s)
}

// TestKilledInCall: a daemon that is killed in the middle of a call, wherever
// that is, has done it or not; nothing else is lost, nothing is left, and the
// call can be made again.
func TestKilledInCall(t *testing.T) {
	if !inBox(t) {
		return
	}
	for what, points := range map[string][]string{
		"prepare": {"prepare.dir", "prepare.record", "prepare.renamed", "prepare.made", "prepare.mounted"},
		"view":    {"prepare.dir", "prepare.record", "prepare.renamed", "prepare.made", "prepare.mounted"},
		"commit":  {"commit.synced", "commit.record", "commit.done", "commit.release", "commit.released"},
		"remove":  {"remove.record", "remove.renamed", "remove.done", "remove.released", "trash.entry", "trash.tree"},
		"cleanup": {"cleanup.renamed", "cleanup.collected", "trash.entry", "trash.tree"},
	} {
		for _, point := range points {
			t.Run(what+" at "+point, func(t *testing.T) { killIn(t, what, point) })
		}
	}
}

func killIn(t *testing.T, what, point string) {
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.layer("top", "base", func(dir string) { write(t, dir+"/g", "top") })
	m := w.prepare("c", "base", nil)
	write(t, m[0].Source+"/d/own", "own")
	held, err := os.Create(m[0].Source + "/held")
	must(t, err)
	_, err = held.WriteString("not yet on disk")
	must(t, err)
	// Commit doesn't wait for whoever has a file open.
	if point != "commit.synced" && point != "commit.record" && point != "commit.done" {
		must(t, held.Close())
	}
	w.stop()
	if what == "cleanup" { // something to clean up
		for _, dir := range []string{"snapshots/900", "snapshots/901", "trash/902"} {
			write(t, filepath.Join(w.root(), dir, "fs/d/f"), "")
		}
	}
	cmd := exec.Command("/proc/self/exe", operateWord, w.root(), what)
	cmd.Env = append(os.Environ(), "PLYFS_FAIL="+point+":kill")
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it wasn't killed: %v\n%s", err, out)
	}
	w.start()
	must(t, w.Cleanup(ctx))
	if point == "commit.done" {
		must(t, held.Close()) // the mount goes with its last user
	}
	w.checkAfterKill(what, point)
	_ = held.Close()

	// Once more, or what follows on it.
	for key, remove := range map[string]bool{"new": what == "prepare" || what == "view", "c": what == "remove"} {
		if remove {
			if err := w.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
				t.Error(err)
			}
		}
	}
	if what != "remove" && what != "cleanup" && !w.has("committed") {
		must(t, operations[what+"Again"](ctx, w.Snapshotter))
	}
	must(t, w.Cleanup(ctx))
	w.nothingLeft()
}

func init() {
	operations["prepareAgain"], operations["viewAgain"] = operations["prepare"], operations["view"]
	operations["commitAgain"] = func(ctx context.Context, s snapshots.Snapshotter) error { return s.Commit(ctx, "committed", "c") }
}

func (w *world) has(key string) bool {
	_, err := w.Stat(context.Background(), key)
	return err == nil
}

// checkAfterKill looks at everything that there is.
func (w *world) checkAfterKill(what, point string) {
	t := w.t
	t.Helper()
	// What was there, and was not what the call was about.
	for _, key := range []string{"base", "top"} {
		if !w.has(key) {
			t.Errorf("%s is lost", key)
		}
	}
	// Before its transaction a call has done nothing; after it all.
	done := map[string]bool{
		"prepare.made": true, "prepare.mounted": true, "commit.done": true, "commit.release": true, "commit.released": true,
		"remove.done": true, "remove.released": true, "trash.entry": true, "trash.tree": true,
	}[point]
	switch what {
	case "prepare", "view":
		if w.has("new") != done {
			t.Errorf("new: %v, want %v", !done, done)
		}
	case "commit":
		if w.has("committed") != done || w.has("c") == done {
			t.Errorf("committed: %v, c: %v, done: %v", w.has("committed"), w.has("c"), done)
		}
	case "remove":
		if w.has("c") == done {
			t.Errorf("c is there: %v", done)
		}
	}
	w.nothingLeft()
	show := func(m string, files map[string]string) {
		for name, want := range files {
			if got := read(t, m+name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	own := map[string]string{"/f": "base", "/d/own": "own", "/held": "not yet on disk"}
	ctx := context.Background()
	if w.has("c") {
		m, err := w.Mounts(ctx, "c")
		must(t, err)
		show(m[0].Source, own)
		if u, err := w.Usage(ctx, "c"); err != nil || u.Inodes != 4 {
			t.Errorf("usage of c: %+v, %v", u, err)
		}
	}
	if w.has("committed") {
		m, err := w.View(ctx, "look", "committed")
		must(t, err)
		show(m[0].Source, own)
		must(t, w.Remove(ctx, "look"))
		if u, err := w.Usage(ctx, "committed"); err != nil || u.Inodes != 4 {
			t.Errorf("usage of what was committed: %+v, %v", u, err)
		}
	}
	if w.has("new") {
		m, err := w.Mounts(ctx, "new")
		must(t, err)
		show(m[0].Source, map[string]string{"/f": "base"})
	}
}

// nothingLeft: a directory for each record, a mount for each union, no trash.
func (w *world) nothingLeft() {
	w.t.Helper()
	records, unions := 0, 0
	must(w.t, w.Walk(context.Background(), func(_ context.Context, info snapshots.Info) error {
		records++
		if info.Kind != snapshots.KindCommitted && info.Parent != "" {
			unions++
		}
		return nil
	}))
	count := func(dir string) int {
		names, err := os.ReadDir(dir)
		must(w.t, err)
		return len(names)
	}
	eventually(w.t, fmt.Sprintf("%d directories, no trash, at most %d mount points", records, unions), func() bool {
		return count(w.root()+"/snapshots") == records && count(w.root()+"/trash") == 0 && count(w.state("m")) <= unions
	})
}

// TestRemoveThatFails: whoever empties the trash meanwhile leaves alone what a
// transaction that isn't through has moved there.
func TestRemoveThatFails(t *testing.T) {
	if !inBox(t) {
		return
	}
	defer fail.Disarm()
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.layer("other", "", func(dir string) { write(t, dir+"/f", "other") })
	fail.Arm("trash.begin", "sleep", 1)
	must(t, w.Remove(ctx, "other")) // its space comes back in a second
	time.Sleep(500 * time.Millisecond)
	fail.Arm("remove.renamed", "sleep", 1)
	fail.Arm("remove.commit", "28", 1)
	if err := w.Remove(ctx, "base"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	w.with(w.prepare("c", "base", nil), func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
	})
	must(t, w.Remove(ctx, "c"))
	must(t, w.Cleanup(ctx))
	w.nothingLeft()
}
