package mountd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/snapshot"
	"github.com/plyfs/plyfs/snapshot/servers"
	"golang.org/x/sys/unix"
)

// inBox runs the calling test in a mount namespace of its own.
func inBox(t *testing.T) bool {
	t.Helper()
	require.FUSE(t)
	return nsbox.Enter(t, nsbox.Mounts)
}

// world is a snapshotter with real mounts, and what a client does with it.
type world struct {
	*snapshot.Snapshotter
	t     *testing.T
	dir   string
	pool  *servers.Pool
	mount string // where a client mounts
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.mount = filepath.Join(w.dir, "client")
	// Others are to reach the mounts of the client.
	must(t, errors.Join(os.Chmod(w.dir, 0o755), os.Chmod(filepath.Dir(w.dir), 0o755), os.Mkdir(w.mount, 0o755)))
	w.start()
	t.Cleanup(func() {
		_ = mount.UnmountAll(w.mount, unix.MNT_DETACH)
		served, err := w.pool.Served(context.Background())
		must(t, err)
		for dir := range served {
			must(t, w.pool.Unmount(context.Background(), dir))
		}
		w.stop()
	})
	return w
}

func (w *world) root() string { return filepath.Join(w.dir, "root") }

func (w *world) state(parts ...string) string {
	return filepath.Join(append([]string{w.dir, "state"}, parts...)...)
}

func (w *world) start() {
	w.t.Helper()
	must(w.t, os.MkdirAll(w.root(), 0o700))
	var err error
	w.Snapshotter, w.pool, err = open(w.root())
	must(w.t, err)
}

func (w *world) stop() {
	w.t.Helper()
	must(w.t, w.Close())
	w.pool.Close()
}

// with mounts m as a client does, and unmounts it afterwards.
func (w *world) with(m []mount.Mount, fn func(dir string)) {
	w.t.Helper()
	must(w.t, mount.All(m, w.mount))
	defer func() { must(w.t, mount.UnmountAll(w.mount, 0)) }()
	fn(w.mount)
}

// layer commits a layer that fn has written on top of parent.
func (w *world) layer(name, parent string, fn func(dir string)) {
	w.t.Helper()
	key := "layer of " + name
	m, err := w.Prepare(context.Background(), key, parent)
	must(w.t, err)
	w.with(m, fn)
	must(w.t, w.Commit(context.Background(), name, key))
}

func (w *world) prepare(key, parent string, labels map[string]string) []mount.Mount {
	w.t.Helper()
	m, err := w.Prepare(context.Background(), key, parent, snapshots.WithLabels(labels))
	must(w.t, err)
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 30 s: %s", what)
		}
	}
}

func gone(name string) bool {
	_, err := os.Lstat(name)
	return errors.Is(err, os.ErrNotExist)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func contains(text, part string) bool { return strings.Contains(text, part) }
