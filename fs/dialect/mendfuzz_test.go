package dialect

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// FuzzMend checks and mends an upper with any name and any xattr value in it:
// no panic, no data lost, and soon nothing is left to do.
func FuzzMend(f *testing.F) {
	require.Root(f)
	f.Add(".wh.f", uint8(0), []byte("y"), uint8(1))
	f.Add("x", uint8(4), []byte("/../etc"), uint8(2))
	f.Add(".wh..wh..opq", uint8(5), []byte(""), uint8(3))
	f.Add("e", uint8(11), []byte("\x00\xfb"), uint8(0))
	f.Fuzz(func(t *testing.T, name string, which uint8, value []byte, to uint8) {
		u := newUpper(t)
		u.mkdir("d")
		u.file("f", "data")
		u.file("d/f", "data")
		for i, dir := range []string{"", "d/"} {
			if os.WriteFile(u.dir+"/"+dir+name, []byte{}, 0o644) != nil {
				continue // no name for a file
			}
			n := names[int(which)%2]
			attrs := []string{
				n.opaque, n.whiteout, n.redirect, n.metacopy, n.origin, n.impure, n.nlink, n.uuid, n.protattr, n.plyfs,
				FuseOpaque, FuseOrigin, BaseXattr, OverrideUser,
			}
			for _, path := range []string{u.dir, u.path("d"), u.path("f"), u.dir + "/" + dir + name} {
				_ = unix.Lsetxattr(path, attrs[(int(which)/2+i)%len(attrs)], value, 0)
			}
		}
		u.check("")
		for range 3 {
			u.mend(To(to % 4))
		}
		if done, _ := u.mend(To(to % 4)); len(done) > 0 {
			t.Errorf("there is always something to do: %q", done)
		}
		for _, file := range []string{"f", "d/f"} {
			if b, err := os.ReadFile(u.path(file)); err != nil || string(b) != "data" {
				t.Errorf("%s: %q, %v", file, b, err)
			}
		}
	})
}

// FuzzBases reads a record of what a live upper took the place of.
func FuzzBases(f *testing.F) {
	f.Add([]byte("1 2 100644 3 4"))
	f.Add([]byte("1 2 100644 -3 4;5 6 7 8 9"))
	f.Add([]byte(";;;"))
	f.Fuzz(func(t *testing.T, v []byte) {
		bounded(t, len(v), func() {
			list, err := ParseBases(v)
			if err != nil {
				refused(t, err)
				return
			}
			if len(list) == 0 || len(list) > maxBases {
				t.Errorf("%d records", len(list))
			}
			if again, err := ParseBases(AddBase(v, list[0])); err != nil || again[0] != list[0] {
				t.Errorf("%q with its first record again: %v, %v", v, again, err)
			}
		})
	})
}
