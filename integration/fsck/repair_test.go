package fsck

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
	"github.com/plyfs/plyfs/integration/harness"
)

// damaged builds an upper with one of everything that --repair mends, and sound
// things between.
func damaged(s *stand) {
	s.file("upper/d/new", "new")
	s.whiteout("upper/d/goes")
	s.mkdir("upper/od")
	s.xattr("upper/od", "trusted.overlay.opaque", "y")
	s.whiteout("upper/od/nothing") // deletes nothing
	s.whiteout("upper/od/deep/er/nothing")
	s.file("upper/od/own", "own")
	s.xattr("upper/od/own", "trusted.overlay.origin", "\x00\xfb") // cut off
	s.mkdir("upper/moved/from-somewhere")
	s.xattr("upper/moved", "trusted.overlay.redirect", "/../etc")
	s.file("upper/moved/kept", "kept")
	s.file("upper/stub", "whole")
	s.xattr("upper/stub", "trusted.overlay.metacopy", "\x01\x09")
	s.xattr("upper/stub", "trusted.overlay.opaque", "y") // on a file
	s.xattr("upper/d", "trusted.overlay.impure", "n")
	s.xattr("upper/d/new", "trusted.overlay.nlink", "X")
	// Of other implementations: copies that were begun, and a whiteout to link.
	s.file("work/work/#1", "half a copy")
	s.file("work/work/17", "half a copy of fuse-overlayfs")
	s.file("work/work/#2", "")
	s.whiteout("work/work/#3")
	s.file("work/work/#4/f", "in a directory that was to be removed")
	s.mkdir("work/work/5")
	s.file("work/9", "of fuse-overlayfs 2")
	s.old("upper")
}

// mixed adds what other dialects write: no single reader understands all.
func mixed(s *stand) {
	damaged(s)
	s.mkdir("upper/two")
	s.xattr("upper/two", "user.fuseoverlayfs.opaque", "y")
	s.file("upper/two/.wh..wh..opq", "")
	s.file("upper/.wh.goes", "")
	s.mkdir("upper/con")
	s.file("upper/.wh.con", "") // deleted and there
	s.file("upper/con/own", "own")
	s.file("upper/.wh..wh.aufs", "bookkeeping")
	s.mkdir("upper/xw")
	s.file("upper/xw/goes", "")
	s.xattr("upper/xw/goes", "user.overlay.whiteout", "y")
	s.xattr("upper/xw", "user.overlay.opaque", "x")
	s.old("upper")
}

// TestRepair: what is damaged is mended, what is sound is as it was, and the
// kernel sees afterwards what plyfs does.
func TestRepair(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	require.FUSE(t)
	for name, build := range map[string]func(*stand){"damaged": damaged, "mixed": mixed} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			build(s)
			data := s.objects()
			if code, _ := s.fsck("", "--work", s.path("work")); code != 1 {
				t.Errorf("before: exit code %d", code)
			}
			code, out := s.fsck("", "--repair")
			if code != 0 {
				t.Errorf("exit code %d:\n%s", code, out)
			}
			if got := s.objects(); !maps.Equal(got, data) {
				t.Errorf("data were touched: %v, before %v", got, data)
			}
			lost, err := os.ReadDir(s.path("lost+found"))
			s.ok(err)
			if want := 4 + len(mixedOnly[name]); len(lost) != want { // #1, 17, #4 and 9
				t.Errorf("%d things in lost+found, want %d:\n%s", len(lost), want, out)
			}
			left, err := os.ReadDir(s.path("work/work"))
			s.ok(err)
			if len(left) != 0 {
				t.Errorf("left in work: %v", left)
			}
			if code, out := s.fsck("", "--repair"); code != 0 || strings.Contains(out, "mended") {
				t.Errorf("once more: exit code %d:\n%s", code, out)
			}
			s.mendedView(s.view(plyfs), s.view(kernel))
		})
	}
}

var mixedOnly = map[string][]string{"mixed": {".wh..wh.aufs"}}

// mendedView looks at what is shown when all is mended.
func (s *stand) mendedView(ours, kernels *treedump.Tree) {
	s.t.Helper()
	s.same("the kernel's view", ours, kernels, nil)
	for path, there := range map[string]bool{
		"d/new": true, "d/stays": true, "d/goes": false, "od/own": true, "od/hidden": false, "od/nothing": false,
		"moved/kept": true, "stub": true,
	} {
		if (ours.Nodes[path] != nil) != there {
			s.t.Errorf("%s is there: %v, want %v", path, !there, there)
		}
	}
	for path, n := range ours.Nodes {
		if n.Err != "" {
			s.t.Errorf("%s: %s", path, n.Err)
		}
	}
}

// TestRepairKilled: killed at every step, it has lost nothing and can be run
// again; what plyfs shows of what was sound never changes.
func TestRepairKilled(t *testing.T) { repairKilled(t, 3) }

// TestRepairKilledSoak kills it at every single fix.
func TestRepairKilledSoak(t *testing.T) {
	if os.Getenv("PLYFS_SOAK") == "" {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
	repairKilled(t, 1)
}

// repairKilled kills at each fix-th fix: there are many.
func repairKilled(t *testing.T, fix int) {
	require.Root(t)
	require.Overlay(t)
	require.FUSE(t)
	tried := 0
	for _, point := range []string{"fsck.fix", "fsck.marked", "fsck.opaque", "fsck.staged", "fsck.moved", "fsck.times"} {
		step := 1
		if point == "fsck.fix" {
			step = fix
		}
		for n := 1; ; n += step {
			s := newStand(t)
			mixed(s)
			sound, data := s.view(plyfs), map[uint64]string{}
			// A mount has emptied the work directory; here it is full again.
			mixed(s)
			maps.Copy(data, s.objects())
			args := []string{"--repair"}
			if point == "fsck.opaque" { // passed on the way to fuse-overlayfs only
				args = []string{"--to", "fuse-overlayfs"}
			}
			code, out := s.fsck(fmt.Sprintf("%s:kill:%d", point, n), args...)
			if code >= 0 {
				if n == 1 {
					t.Errorf("%s isn't passed:\n%s", point, out)
				}
				break
			}
			tried++
			if got := s.objects(); !maps.Equal(got, data) {
				t.Errorf("killed at %s %d: data %v, before %v", point, n, got, data)
			}
			if code, out := s.fsck("", args...); code != 0 {
				t.Errorf("killed at %s %d, and again: exit code %d:\n%s", point, n, code, out)
			}
			if got := s.objects(); !maps.Equal(got, data) {
				t.Errorf("after %s %d and again: data %v, before %v", point, n, got, data)
			}
			ours := s.view(plyfs)
			for path, was := range sound.Nodes {
				now := ours.Nodes[path]
				broken := strings.HasPrefix(path, "moved") || path == "stub"
				if !broken && was.Err == "" && (now == nil || now.Sum != was.Sum || now.Type != was.Type) {
					t.Errorf("killed at %s %d: %s was %v, is %v", point, n, path, was, now)
				}
			}
			for path := range ours.Nodes {
				if sound.Nodes[path] == nil && !strings.HasPrefix(path, "moved") {
					t.Errorf("killed at %s %d: %s has appeared", point, n, path)
				}
			}
			if args[0] == "--repair" {
				s.mendedView(ours, s.view(kernel))
			}
		}
	}
	t.Logf("killed %d times", tried)
	if tried < 20 {
		t.Errorf("killed %d times only", tried)
	}
}

// TestMounted: an upper that somebody has mounted isn't touched.
func TestMounted(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	require.FUSE(t)
	s := newStand(t)
	damaged(s)
	o := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", s.path("lower"), s.path("upper"), s.path("work"))
	refused := func(who string, args ...string) {
		t.Helper()
		code, out := s.fsck("", args...)
		if code != 1 || !strings.Contains(out, "is mounted") || strings.Count(out, "\n") != 1 {
			t.Errorf("mounted by %s: exit code %d:\n%s", who, code, out)
		}
	}
	s.run(exec.Command(harness.Binary(t), "mount", "-o", o, s.path("mnt")))
	refused("plyfs", "--repair")
	s.ok(os.Mkdir(s.path("other"), 0o755))
	refused("plyfs, and the work directory isn't known", "--to", "kernel", "--work", s.path("other"))
	s.run(exec.Command(harness.Binary(t), "umount", s.path("mnt")))
	s.idle()
	s.ok(unix.Mount("overlay", s.path("mnt"), "overlay", 0, o))
	refused("overlayfs", "--repair")
	s.ok(unix.Unmount(s.path("mnt"), 0))
	s.run(exec.Command(require.Tool(t, "fuse-overlayfs"), "-o", o, s.path("mnt")))
	refused("fuse-overlayfs", "--repair")
	s.ok(unix.Unmount(s.path("mnt"), 0))
	s.idle()
	if code, out := s.fsck("", "--repair"); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
