package mountd_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/snapshot"
)

// TestFuseMounts: with mounts of type fuse3.plyfs the client mounts by
// mount.fuse3, and no server process is started.
func TestFuseMounts(t *testing.T) {
	if !inBox(t) {
		return
	}
	require.Tool(t, "mount.fuse3")
	bin := t.TempDir()
	run(t, "go", "build", "-o", bin+"/plyfs", "../../plyfs")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	w, ctx := newWorld(t), context.Background()
	w.stop()
	var err error
	w.pool, err = newPool(w.state())
	must(t, err)
	w.Snapshotter, err = snapshot.New(snapshot.Config{Root: w.root(), State: w.state(), Mounter: w.pool, FuseMounts: true})
	must(t, err)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.layer("top", "base", func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
		must(t, errors.Join(os.Remove(dir+"/f"), os.WriteFile(dir+"/g", []byte("top"), 0o600)))
	})
	m, err := w.View(ctx, "v", "top")
	must(t, err)
	if m[0].Type != snapshot.FuseType {
		t.Errorf("%v", m)
	}
	w.with(m, func(dir string) {
		if !gone(dir+"/f") || read(t, dir+"/g") != "top" {
			t.Error("the view is not that of the layers")
		}
		if os.WriteFile(dir+"/x", nil, 0o600) == nil {
			t.Error("a view can be written")
		}
	})
	u, err := w.Usage(ctx, "top")
	must(t, err)
	if u.Inodes != 3 { // root, g, the whiteout
		t.Errorf("usage: %+v", u)
	}
	if pids := w.servers(); len(pids) != 0 {
		t.Errorf("server processes: %v", pids)
	}
}
