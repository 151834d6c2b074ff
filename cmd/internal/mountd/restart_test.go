package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// TestRestart: mounts are where they were when the daemon comes back, and were
// never away for those who use them.
func TestRestart(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	w.with(m, func(dir string) {
		f, err := os.Create(dir + "/held")
		must(t, err)
		w.stop()
		_, err = f.WriteString("while no daemon runs")
		must(t, errors.Join(err, f.Close()))
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
		w.start()
		again, err := w.Mounts(ctx, "c")
		must(t, err)
		if !reflect.DeepEqual(again, m) {
			t.Errorf("Mounts: %v, was %v", again, m)
		}
		if got := read(t, again[0].Source+"/held"); got != "while no daemon runs" {
			t.Errorf("held: %q", got)
		}
	})
	if u, err := w.Usage(ctx, "c"); err != nil || u.Inodes != 2 {
		t.Errorf("usage: %+v, %v", u, err)
	}
}

// servers are the pids of the server processes: those of this mount namespace.
func (w *world) servers() (pids []int) {
	self, err := os.Readlink("/proc/self/ns/mnt")
	must(w.t, err)
	procs, err := filepath.Glob("/proc/[0-9]*")
	must(w.t, err)
	for _, p := range procs {
		args, _ := os.ReadFile(p + "/cmdline")
		if ns, _ := os.Readlink(p + "/ns/mnt"); ns == self && strings.HasSuffix(string(args), "\x00"+serveWord+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(p))
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestServerDies: whoever uses the mount gets errors; nothing stays of it, and
// a restarted container has its files.
func TestServerDies(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	must(t, mount.All(m, w.mount)) // as the shim does, in the bundle
	write(t, w.mount+"/new", "new")
	pids := w.servers()
	if len(pids) != 1 {
		t.Fatalf("%d server processes", len(pids))
	}
	must(t, unix.Kill(pids[0], unix.SIGKILL))
	eventually(t, "the dead bind mount is detached", func() bool {
		var st unix.Stat_t
		return unix.Stat(w.mount+"/f", &st) == unix.ENOENT
	})
	again, err := w.Mounts(ctx, "c")
	must(t, err)
	w.with(again, func(dir string) {
		if got := read(t, dir+"/f") + read(t, dir+"/new"); got != "basenew" {
			t.Errorf("after the restart: %q", got)
		}
	})
	if pids := w.servers(); len(pids) != 1 {
		t.Errorf("%d server processes", len(pids))
	}
}

// TestBothDie: daemon and server are killed; the next daemon finds a dead
// mount and replaces it.
func TestBothDie(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	w.stop()
	for _, pid := range w.servers() {
		must(t, unix.Kill(pid, unix.SIGKILL))
	}
	eventually(t, "the servers are dead", func() bool { return len(w.servers()) == 0 })
	w.start()
	eventually(t, "the mount is replaced", func() bool {
		b, err := os.ReadFile(m[0].Source + "/f")
		return err == nil && string(b) == "base"
	})
	must(t, w.Remove(ctx, "c"))
	if !gone(m[0].Source) {
		t.Error("the mount point stays")
	}
}

// TestCleanup: what no record owns goes, and nothing through a mount.
func TestCleanup(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.prepare("c", "base", nil)
	orphan, foreign := w.root()+"/snapshots/999", w.root()+"/snapshots/998"
	for _, dir := range []string{orphan, foreign, w.root() + "/snapshots/new-1"} {
		write(t, dir+"/fs/deep/er/f", "")
	}
	precious := t.TempDir()
	write(t, precious+"/photo", "precious")
	must(t, unix.Mount(precious, foreign+"/fs/deep", "", unix.MS_BIND, ""))
	must(t, os.Mkdir(w.state("m", "777"), 0o700))
	if err := w.Cleanup(ctx); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("a mount in the way: %v", err)
	}
	if read(t, precious+"/photo") != "precious" {
		t.Error("lost")
	}
	if !gone(orphan) || !gone(foreign) || !gone(w.root()+"/trash/999") || !gone(w.state("m", "777")) {
		t.Error("orphans stay")
	}
	if gone(w.root() + "/snapshots/new-1") {
		t.Error("what is being made is collected")
	}
	must(t, unix.Unmount(w.root()+"/trash/998/fs/deep", 0))
	must(t, w.Cleanup(ctx))
	if !gone(w.root() + "/trash/998") {
		t.Error("trash stays")
	}
	w.stop()
	w.start() // nothing is being made any more
	must(t, w.Cleanup(ctx))
	if !gone(w.root() + "/snapshots/new-1") {
		t.Error("what was being made stays")
	}
	if _, err := w.Stat(ctx, "base"); err != nil {
		t.Error(err)
	}
}

// TestCrashInRemove: a directory that is in the trash and has a record goes
// back.
func TestCrashInRemove(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	id := filepath.Base(filepath.Dir(filepath.Dir(onlyLayer(t, w.root()))))
	w.stop()
	must(t, os.Rename(w.root()+"/snapshots/"+id, w.root()+"/trash/"+id))
	w.start()
	must(t, w.Cleanup(ctx))
	w.with(w.prepare("c", "base", nil), func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
	})
}

func onlyLayer(t *testing.T, root string) string {
	t.Helper()
	found, err := filepath.Glob(root + "/snapshots/*/fs/f")
	must(t, err)
	if len(found) != 1 {
		t.Fatal(found)
	}
	return found[0]
}

// TestBadRoot: one line that says what is wrong, and nothing lost.
func TestBadRoot(t *testing.T) {
	if !inBox(t) {
		return
	}
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	refused := func(root, part string) {
		t.Helper()
		s, pool, err := open(root)
		if err == nil {
			err = s.Ready(context.Background())
			_ = s.Close()
			pool.Close()
		}
		if err == nil {
			t.Errorf("%s is taken", root)
		} else if msg := err.Error(); !strings.Contains(msg, part) || strings.Contains(msg, "\n") {
			t.Errorf("%s: %v; want one line with %q", root, err, part)
		}
	}
	refused(w.root(), fmt.Sprintf("in use by process %d", os.Getpid()))
	w.stop()
	db := w.root() + "/metadata.db"
	whole := read(t, db)
	must(t, os.WriteFile(db, []byte(strings.Repeat("x", 20000)), 0o600))
	refused(w.root(), "metadata.db cannot be read")
	must(t, os.WriteFile(db, []byte(whole), 0o600))
	ro := filepath.Join(w.dir, "ro", "root")
	must(t, os.MkdirAll(ro, 0o700))
	must(t, unix.Mount(w.root(), ro, "", unix.MS_BIND, ""))
	must(t, unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	refused(ro, "read-only file system")
	must(t, unix.Unmount(ro, 0))
	w.start()

	// One snapshot that is broken doesn't stop the others.
	ctx := context.Background()
	must(t, os.RemoveAll(filepath.Dir(filepath.Dir(onlyLayer(t, w.root())))))
	_, err := w.Prepare(ctx, "c", "base")
	if !errdefs.IsFailedPrecondition(err) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer that is gone: %v", err)
	}
	w.layer("other", "", func(dir string) { write(t, dir+"/f", "other") })
	w.with(w.prepare("d", "other", nil), func(dir string) { read(t, dir+"/f") })
	must(t, w.Remove(ctx, "base"))
}

// TestManyClients: 64 clients at once.
func TestManyClients(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key := fmt.Sprintf("c%d", i)
			m, err := w.Prepare(ctx, key, "base")
			if err != nil {
				t.Error(err)
				return
			}
			err = os.WriteFile(m[0].Source+"/own", []byte(key), 0o644)
			if b, e := os.ReadFile(m[0].Source + "/f"); e != nil || string(b) != "base" {
				err = errors.Join(err, e, fmt.Errorf("f: %q", b))
			}
			again, e := w.Mounts(ctx, key)
			if err = errors.Join(err, e); err == nil && !reflect.DeepEqual(again, m) {
				err = fmt.Errorf("mounts: %v, %v", m, again)
			}
			if i%2 == 0 {
				err = errors.Join(err, w.Commit(ctx, "n"+key, key), w.Remove(ctx, "n"+key))
			} else {
				err = errors.Join(err, w.Remove(ctx, key))
			}
			if err != nil {
				t.Error(key, err)
			}
		})
	}
	wg.Wait()
	must(t, w.Cleanup(ctx))
	n := 0
	must(t, w.Walk(ctx, func(context.Context, snapshots.Info) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d snapshots are left", n)
	}
	eventually(t, "mount points are gone", func() bool {
		left, err := os.ReadDir(w.state("m"))
		return err == nil && len(left) == 0
	})
	eventually(t, "the servers have ended but one", func() bool { return len(w.servers()) <= 4 })
}

// TestForms: what is answered to whom.
func TestForms(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.layer("top", "base", func(dir string) { write(t, dir+"/g", "top") })
	ref := map[string]string{"containerd.io/snapshot.ref": "sha256:2"}
	rebase := map[string]string{"containerd.io/snapshot.ref": "sha256:2", "containerd.io/snapshot/parent-chain-id": "sha256:1"}
	for _, tt := range []struct {
		key, parent string
		labels      map[string]string
		view        bool
		typ, option string
	}{
		{"container", "top", nil, false, "bind", "rw"},
		{"bottom", "", ref, false, "bind", "rw"},
		{"second", "top", ref, false, "overlay", "upperdir="},
		{"default/5/extract-1-x sha256:2", "top", nil, false, "overlay", "lowerdir="},
		{"parallel", "", rebase, false, "overlay", "upperdir="},
		{"view", "top", nil, true, "bind", "ro"},
		{"view of one", "base", nil, true, "bind", "ro"},
		{"view of none", "", nil, true, "bind", "ro"},
	} {
		make := w.Prepare
		if tt.view {
			make = w.View
		}
		m, err := make(ctx, tt.key, tt.parent, snapshots.WithLabels(tt.labels))
		must(t, err)
		if len(m) != 1 || m[0].Type != tt.typ || !strings.Contains(strings.Join(m[0].Options, ","), tt.option) {
			t.Errorf("%s: %v", tt.key, m)
		}
		// An answer that is read-only would mean that a layer is there already.
		if m[0].ReadOnly() != tt.view {
			t.Errorf("%s: read-only is %v", tt.key, m[0].ReadOnly())
		}
		if again, err := w.Mounts(ctx, tt.key); err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%s again: %v, %v", tt.key, again, err)
		}
	}
}
