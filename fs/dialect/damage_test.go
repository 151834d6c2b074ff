package dialect

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/sys"
)

// damages are what can be wrong with an upper: findings, with ", " between them,
// and how they come about.
var damages = []struct {
	want  string // findings, with ", " between them
	build func(u upper)
}{
	{"whiteout-char d/a", func(u upper) { u.whiteout("d/a") }},
	{"?whiteout-xattr e", func(u upper) { u.xattr("e", NSUser.Whiteout(), "y") }},
	{"?misplaced f", func(u upper) { u.xattr("f", NSTrusted.Whiteout(), "y") }},
	{"?misplaced d", func(u upper) { u.xattr("d", NSTrusted.Whiteout(), "y") }},
	{"?whiteout-file d/.wh.a", func(u upper) { u.file("d/.wh.a", "") }},
	{"?conflict .wh.f, ?whiteout-file .wh.f", func(u upper) { u.file(".wh.f", "") }},
	{"?misplaced .wh.a, ?whiteout-file .wh.a", func(u upper) { u.mkdir(".wh.a") }},
	{"?aufs-meta .wh..wh.aufs", func(u upper) { u.file(".wh..wh.aufs", "") }},
	{"?aufs-meta .wh.", func(u upper) { u.file(".wh.", "") }},
	{"?opaque-file d/.wh..wh..opq", func(u upper) { u.file("d/.wh..wh..opq", "") }},
	{"?opaque-fuse d", func(u upper) { u.xattr("d", FuseOpaque, "y") }},
	{"?opaque-x d", func(u upper) { u.xattr("d", NSTrusted.Opaque(), "x") }},
	{"?bad-xattr d", func(u upper) { u.xattr("d", NSTrusted.Opaque(), "yes") }},
	{"?bad-xattr d", func(u upper) { u.xattr("d", NSUser.Opaque(), "") }},
	{"?bad-xattr d", func(u upper) { u.xattr("d", FuseOpaque, "n") }},
	{"?misplaced f", func(u upper) { u.xattr("f", NSUser.Opaque(), "y") }},
	{"redirect d", func(u upper) { u.xattr("d", NSTrusted.Redirect(), "/was/here") }},
	{"?redirect d", func(u upper) { u.xattr("d", NSUser.Redirect(), "was") }},
	{"!bad-xattr d", func(u upper) { u.xattr("d", NSTrusted.Redirect(), "/../etc") }},
	{"!bad-xattr d", func(u upper) { u.xattr("d", NSTrusted.Redirect(), "") }},
	{"?misplaced ln", func(u upper) { u.xattr("ln", NSTrusted.Redirect(), "/a") }},
	{"?metacopy f", func(u upper) { u.xattr("f", NSTrusted.Metacopy(), "") }},
	{"?metacopy f", func(u upper) { u.xattr("f", NSUser.Metacopy(), "\x00\x04\x00\x00") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", NSTrusted.Metacopy(), "\x00\x05\x00\x00") }},
	{"?misplaced d", func(u upper) { u.xattr("d", NSTrusted.Metacopy(), "") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", NSTrusted.Origin(), "\x00\xfb") }},
	{"!bad-xattr ln", func(u upper) { u.xattr("ln", NSTrusted.Origin(), strings.Repeat("\x00", 29)) }},
	{"?bad-xattr d", func(u upper) { u.xattr("d", NSTrusted.Impure(), "n") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", NSTrusted.Nlink(), "U") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", NSTrusted.Protattr(), "az") }},
	{"!bad-xattr .", func(u upper) { u.xattr("", NSTrusted.UUID(), "short") }},
	{"?misplaced d", func(u upper) { u.xattr("d", NSTrusted.UUID(), strings.Repeat("u", 16)) }},
	{"?unknown-xattr f", func(u upper) { u.xattr("f", NSUser.Prefix()+"new", "1") }},
	{"?unknown-xattr f", func(u upper) { u.xattr("f", NSTrusted.Upper(), "1") }},
	{"?unknown-xattr f", func(u upper) { u.xattr("f", "user.fuseoverlayfs.new", "1") }},
	{"?unknown-xattr f", func(u upper) { u.xattr("f", "user.plyfs.new", "1") }},
	{"?bad-xattr f", func(u upper) { u.xattr("f", FuseOrigin, "no-nul") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", NSTrusted.Plyfs(), "x") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", OverrideUser, "0:0") }},
	{"!bad-xattr d", func(u upper) { u.xattr("d", OverrideUserLegacy, "0:0:999") }},
	{"!bad-xattr f", func(u upper) { u.xattr("f", OverridePrivileged, "") }},
	{"?override-ignored f", func(u upper) { u.xattr("f", OverrideUser, "0:0:0644:file") }},
	{"", func(u upper) { u.xattr("", OverrideUser, "0:0:555"); u.xattr("f", OverrideUser, "0:0:0644:file") }},
	{"?misplaced ln", func(u upper) { u.xattr("ln", OverridePrivileged, "0:0:0777:symlink") }},
	{"special-file d/p", func(u upper) { u.node("d/p", unix.S_IFIFO|0o600, 0) }},
	{"special-file s", func(u upper) { u.node("s", unix.S_IFSOCK|0o600, 0) }},
	{"special-file null", func(u upper) { u.node("null", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)) }},
	{"special-file zero", func(u upper) { u.node("zero", unix.S_IFBLK|0o600, 0) }},
	{
		"opaque-user d, whiteout-char d/a, ?whiteout-in-opaque d/a",
		func(u upper) { u.xattr("d", NSUser.Opaque(), "y"); u.whiteout("d/a") },
	},
	{
		"?opaque-file d/.wh..wh..opq, whiteout-char d/x/a, ?whiteout-in-opaque d/x/a",
		func(u upper) { u.file("d/.wh..wh..opq", ""); u.mkdir("d/x"); u.whiteout("d/x/a") },
	},
	// An absolute redirect merges again below an opaque directory.
	{"opaque-trusted d, redirect d/x, whiteout-char d/x/a", func(u upper) {
		u.xattr("d", NSTrusted.Opaque(), "y")
		u.mkdir("d/x")
		u.xattr("d/x", NSTrusted.Redirect(), "/y")
		u.whiteout("d/x/a")
	}},
}

func damagedUpper(t *testing.T, build func(u upper)) upper {
	u := newUpper(t)
	u.mkdir("d")
	u.file("e", "")
	u.file("f", "data")
	u.ok(os.Symlink("/nowhere", u.path("ln")))
	build(u)
	return u
}

// TestCheckDamage builds each damage and expects it, alone.
func TestCheckDamage(t *testing.T) {
	require.Root(t)
	for _, g := range damages {
		_, found := damagedUpper(t, g.build).check("")
		if got := strings.Join(sorted(found), ", "); got != strings.Join(sorted(strings.Split(g.want, ", ")), ", ") {
			t.Errorf("found %q, want %q", got, g.want)
		}
	}
}

// mend runs Mend, and gives what was done and what couldn't be.
func (u upper) mend(to To) (done, kept []string) {
	u.t.Helper()
	fd, e := sys.Open(unix.AT_FDCWD, u.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	beside, e2 := sys.Open(fd, "..", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 || e2 != 0 {
		u.t.Fatal(e, e2)
	}
	defer sys.Close(fd)
	defer sys.Close(beside)
	u.ok(Mend(Repair{Upper: fd, Work: -1, Beside: beside, To: to, Report: func(m Mended) {
		if m.Err != nil {
			kept = append(kept, m.String())
		} else {
			done = append(done, m.String())
		}
	}}))
	return done, kept
}

// TestMendDamage mends each damage, in each dialect: what is left is what needs
// somebody who knows, and once is enough.
func TestMendDamage(t *testing.T) {
	require.Root(t)
	for _, g := range damages {
		for _, to := range []To{ToEach, ToKernel, ToUserXattr, ToFuse} {
			u := damagedUpper(t, g.build)
			before := len(fdsOf(t))
			u.mend(to)
			u.mend(to) // a mark that was written may have made a whiteout one over nothing
			if done, _ := u.mend(to); len(done) != 0 {
				t.Errorf("%q to %q, for the third time: %q", g.want, to, done)
			}
			if n := len(fdsOf(t)); n != before {
				t.Errorf("%d descriptors, %d before", n, before)
			}
			_, found := u.check("")
			for _, f := range found {
				kind, _, _ := strings.Cut(strings.TrimLeft(f, "!?"), " ")
				switch {
				case kind == "whiteout-in-opaque" || kind == "conflict":
					t.Errorf("%q to %q: %s is left", g.want, to, f)
				case kind == "bad-xattr" && !strings.Contains(g.want, "bad-xattr"):
					t.Errorf("%q to %q: %s", g.want, to, f)
				case f[0] == '!' && !overrides(u):
					t.Errorf("%q to %q: %s is left", g.want, to, f)
				}
			}
			if data, err := os.ReadFile(u.path("f")); err != nil || string(data) != "data" {
				t.Errorf("%q to %q: f is %q, %v", g.want, to, data, err)
			}
		}
	}
}

// overrides says whether the upper has a record of virtual ownership, which Mend
// leaves alone.
func overrides(u upper) bool {
	for _, name := range []string{"f", "d"} {
		for _, attr := range overrideNames {
			if _, e := sys.GetXattr(unix.AT_FDCWD, u.path(name), attr, make([]byte, 256)); e == 0 {
				return true
			}
		}
	}
	return false
}

func fdsOf(t *testing.T) []os.DirEntry {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return d
}
