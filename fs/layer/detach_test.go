package layer

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/sys"
)

// TestDetach: layers get a read-only mount that nothing is mounted in, one for
// all that are below one directory; what that mount doesn't show as the layer
// gets one of its own.
func TestDetach(t *testing.T) {
	require.Root(t)
	base := tree(t, "s/1/fs/in", "s/2/fs", "s/3/fs", "other", "over", "m", "far/s")
	mountTmpfs(t, "s/1/fs/in")
	mountTmpfs(t, "s/3/fs")
	if err := os.Mkdir("s/3/fs/on-tmpfs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base+"/other", "s/link"); err != nil {
		t.Fatal(err)
	}
	for text, together := range map[string]int{
		base + "/s/1/fs:" + base + "/s/2/fs":                           2,
		base + "/s/1/fs:" + base + "/s/3/fs:" + base + "/s/2/fs":       2, // one is a mount point
		base + "/s/1/fs:" + base + "/s/link:" + base + "/s/2/fs":       2, // one is reached by a link
		base + "/s/1/fs:" + base + "/other":                            2,
		base + "/s/1/fs":                                               1,
		"s/1/fs:s/2/fs":                                                1, // relative
		base + "/s:" + base + "/s/2/fs":                                2, // one is in the other
		base + "/s/../s/1/fs:" + base + "/s/2/fs":                      1,
		base + "/s/2/fs:" + base + "/far/../far/s:" + base + "/s/1/fs": 1,
	} {
		s, err := Open(parse(t, "lowerdir="+text))
		if err != nil {
			t.Fatal(err)
		}
		var ids []id
		for i := range s.Lower {
			ids = append(ids, s.Lower[i].id())
		}
		s.Detach()
		mounts := map[uint64]int{}
		for i := range s.Lower {
			fd := s.Lower[i].FD
			if who, e := idOf(fd); e != 0 || who != ids[i] {
				t.Errorf("%s: layer %d is another directory now", text, i)
			}
			if err := unix.Mkdirat(fd, "written", 0o755); err != unix.EROFS {
				t.Errorf("%s: layer %d can be written: %v", text, i, err)
			}
			mounts[sys.MountID(fd, "")]++
		}
		most := 0
		for _, n := range mounts {
			most = max(most, n)
		}
		if most != together {
			t.Errorf("%s: %d layers share a mount, want %d", text, most, together)
		}
		// What is mounted in a layer isn't seen.
		var st, top sys.Stat
		if sys.StatFD(s.Lower[0].FD, &top) == 0 && sys.StatAt(s.Lower[0].FD, "in", &st) == 0 && st.Dev != top.Dev {
			t.Errorf("%s: a mount in the layer is seen", text)
		}
		s.Close()
	}
}

// TestDeepInside: a walk up that is longer than a name can be.
func TestDeepInside(t *testing.T) {
	deep := "u"
	for range 300 {
		deep += "/d"
	}
	tree(t, deep, "a", "w")
	for text, want := range map[string]bool{
		"lowerdir=a:" + deep + ",upperdir=w,workdir=" + "v": false,
		"lowerdir=a:" + deep + ",upperdir=u,workdir=" + "v": true,
	} {
		_ = os.Mkdir("v", 0o755)
		fds := countFDs(t)
		s, err := Open(parse(t, text))
		if (err != nil) != want {
			t.Errorf("%.40s…: %v", text, err)
		}
		if s != nil {
			s.Close()
		}
		if n := countFDs(t); n != fds {
			t.Errorf("%d descriptors were left open", n-fds)
		}
	}
}
