package union

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/layer"
)

// TestPowerLossPromises: with fsync=strict a change of names or attributes is on
// disk when it is answered, and nobody has synced anything; with any but volatile
// what was fsynced is. Each is looked at on a copy of the disk as it is right then.
func TestPowerLossPromises(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		require.Missing(t, "loop devices: %v", err)
	}
	there := func(name string) func(up string) bool {
		return func(up string) bool { _, err := os.Lstat(up + name); return err == nil }
	}
	whiteout := func(name string) func(up string) bool {
		return func(up string) bool {
			var st unix.Stat_t
			return unix.Lstat(up+name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
		}
	}
	text := bytes.Repeat([]byte("new data, "), 5000)
	fsynced := func(c *client) {
		id := c.create("d/new", 0o644)
		c.write(id, string(text), 0)
		c.check("fsync", c.fs.Fsync(id, false))
	}
	holds := func(up string) bool {
		b, err := os.ReadFile(up + "d/new")
		return err == nil && bytes.Equal(b, text)
	}
	for _, tt := range []struct {
		name  string
		fsync layer.Fsync
		do    func(c *client)
		kept  func(up string) bool
	}{
		{"create", layer.FsyncStrict, func(c *client) { c.create("d/new", 0o644) }, there("d/new")},
		{"mkdir", layer.FsyncStrict, func(c *client) { c.mkdir("new") }, there("new")},
		{"symlink", layer.FsyncStrict, func(c *client) {
			var e Entry
			c.check("symlink", c.fs.Symlink(caller, c.id("d"), "new", "target", &e))
		}, there("d/new")},
		{"link", layer.FsyncStrict, func(c *client) { c.link(c.id("d/f"), "new") }, there("new")},
		{"rename", layer.FsyncStrict, func(c *client) { c.rename("d/f", "new") }, there("new")},
		{"unlink", layer.FsyncStrict, func(c *client) { c.unlink("d/f") }, whiteout("d/f")},
		{"rmdir", layer.FsyncStrict, func(c *client) { c.rmdir("empty") }, whiteout("empty")},
		{"chmod", layer.FsyncStrict, func(c *client) { c.chmod("d/f", 0o600) }, func(up string) bool {
			fi, err := os.Lstat(up + "d/f")
			return err == nil && fi.Mode().Perm() == 0o600 && fi.Size() == 3
		}},
		{"setxattr", layer.FsyncStrict, func(c *client) {
			c.check("setxattr", c.fs.SetXattr(c.id("d/f"), "user.x", []byte("y"), 0))
		}, func(up string) bool {
			n, err := unix.Lgetxattr(up+"d/f", "user.x", make([]byte, 8))
			return err == nil && n == 1
		}},
		{"fsync auto", layer.FsyncAuto, fsynced, holds},
		{"fsync strict", layer.FsyncStrict, fsynced, holds},
		{"fsync volatile", layer.FsyncVolatile, fsynced, func(up string) bool { return !holds(up) }}, // answered at once
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.file("lower1/d/f", "old")
			e.mkdir("lower1/empty")
			img := e.path("img")
			formatDisk(t, img, "")
			mountDisk(t, img, e.mkdir("disk"), lazily)
			e.o.Upper, e.o.Work = e.mkdir("disk/upper"), e.mkdir("disk/work")
			e.o.Fsync, e.o.NoMarker = tt.fsync, true
			e.open()
			tt.do(e.c)
			copyDisk(t, img, img+"2")
			mountDisk(t, img+"2", e.mkdir("after"), "rw")
			if !tt.kept(e.path("after/upper") + "/") {
				t.Error("after a power loss it is not what was promised")
			}
		})
	}
}
