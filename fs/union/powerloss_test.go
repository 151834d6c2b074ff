package union

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// TestPowerLoss copies a file up on a disk of its own, has that disk's journal
// written, and looks at what a power loss right then would leave: a file with
// its name and no data must not hide the good lower one. Without the sync it
// would: the volatile mount proves it.
func TestPowerLoss(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		require.Missing(t, "loop devices: %v", err)
	}
	for _, tt := range []struct {
		name  string
		fsync layer.Fsync
		whole bool
	}{{"auto", layer.FsyncAuto, true}, {"strict", layer.FsyncStrict, true}, {"volatile", layer.FsyncVolatile, false}} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, 1)
			content := bytes.Repeat([]byte("good old data, "), 20000)
			e.file("lower1/d/f", string(content))
			img := e.path("img")
			mountDisk(t, img, e.mkdir("disk"), true)
			e.o.Upper, e.o.Work = e.mkdir("disk/upper"), e.mkdir("disk/work")
			e.o.Fsync, e.o.NoMarker = tt.fsync, true
			e.open()
			e.c.write(e.c.id("d/f"), "G", 0)
			flushJournal(t, e.path("disk/other"))
			// What the disk has now is what is there after the power loss.
			copyDisk(t, img, img+"2")
			mountDisk(t, img+"2", e.mkdir("after"), false)
			b, err := os.ReadFile(e.path("after/upper/d/f"))
			if err != nil {
				if tt.fsync == layer.FsyncStrict || !os.IsNotExist(err) {
					t.Errorf("the upper file: %v", err)
				}
				return
			}
			whole := len(b) == len(content) && bytes.Equal(b[1:], content[1:])
			if whole != tt.whole {
				t.Errorf("the upper has %d bytes of %d, whole: %v, want %v", len(b), len(content), whole, tt.whole)
			}
		})
	}
}

// mountDisk mounts an image, made first if need be, until the test ends. The
// options keep ext4 from writing data early on its own.
func mountDisk(t *testing.T, img, dir string, fresh bool) {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(require.Tool(t, name), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if fresh {
		f, err := os.Create(img)
		if err == nil {
			err = f.Truncate(48 << 20)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", img)
	}
	run("mount", "-o", "loop,noauto_da_alloc,commit=600", img, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// flushJournal makes all changes of names so far durable, by syncing another
// file of the disk.
func flushJournal(t *testing.T, p string) {
	t.Helper()
	f, err := os.Create(p)
	if err == nil {
		_, err = f.WriteString("other")
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func copyDisk(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Clean(to), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
