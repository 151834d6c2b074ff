package dialect

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/layer"
)

// union is an overlay of another implementation, to look at what it leaves in
// the upper.
type union struct {
	lower, up, work, merged upper
	mount                   func() error
}

// newUnion makes the layers on a tmpfs of their own.
func newUnion(t *testing.T) *union {
	base := newUpper(t)
	nsbox.Tmpfs(t, base.dir, "mode=755")
	for _, d := range []string{"l/d", "l/od", "l/mv", "u", "w", "m"} {
		base.mkdir(d)
	}
	for _, f := range []string{"l/d/f", "l/gone", "l/od/x", "l/mc"} {
		base.file(f, "lower")
	}
	sub := func(name string) upper { return upper{t, base.path(name)} }
	return &union{lower: sub("l"), up: sub("u"), work: sub("w"), merged: sub("m")}
}

func (u *union) options() string {
	return "lowerdir=" + u.lower.dir + ",upperdir=" + u.up.dir + ",workdir=" + u.work.dir
}

// change does in the mount what leaves one trace of each sort.
func (u *union) change(t *testing.T) {
	t.Helper()
	m := u.merged
	f, err := os.OpenFile(m.path("d/f"), os.O_WRONLY|os.O_APPEND, 0)
	m.ok(err)
	_, err = f.WriteString("more")
	m.ok(err)
	m.ok(f.Close())
	m.ok(os.Remove(m.path("gone")))
	m.ok(os.RemoveAll(m.path("od")))
	m.ok(os.Mkdir(m.path("od"), 0o755))
}

// run mounts, changes, unmounts and checks.
func (u *union) run(t *testing.T, more func()) (Summary, []string) {
	t.Helper()
	if err := u.mount(); err != nil {
		require.Missing(t, "to mount it: %v", err)
	}
	u.change(t)
	if more != nil {
		more()
	}
	u.merged.ok(unix.Unmount(u.merged.dir, 0))
	return u.up.check(u.work.dir)
}

func (u *union) kernel(more string) func() error {
	return func() error { return unix.Mount("overlay", u.merged.dir, "overlay", 0, u.options()+more) }
}

func TestKernelTrusted(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUnion(t)
	u.mount = u.kernel(",redirect_dir=on,metacopy=on")
	sum, found := u.run(t, func() {
		m := u.merged
		m.ok(os.Rename(m.path("mv"), m.path("d/mv2")))
		m.ok(os.Chmod(m.path("mc"), 0o600))
		m.xattr("d/f", "trusted.overlay.foo", "bar")
	})
	want(t, slices.DeleteFunc(found, isSharedWhiteout),
		"opaque-trusted od", "redirect d/mv2", "?metacopy mc", "whiteout-char gone", "whiteout-char mv")
	if sum.Dialect != DialectTrusted || sum.Copied == 0 || sum.Escaped != 1 {
		t.Errorf("summary %+v", sum)
	}
	var st unix.Stat_t
	u.up.ok(unix.Lstat(u.lower.path("d/f"), &st))
	o, err := ParseOrigin(readXattr(t, u.up.path("d/f"), NSTrusted.Origin()))
	if ino, ok := o.Ino(); err != nil || !ok || ino != st.Ino {
		t.Errorf("origin %+v, %v: number %d, %v, want %d", o, err, ino, ok, st.Ino)
	}
	path, absolute, err := ParseRedirect(readXattr(t, u.up.path("d/mv2"), NSTrusted.Redirect()))
	if err != nil || path != "/mv" || !absolute {
		t.Errorf("redirect %q, %v, %v", path, absolute, err)
	}
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(u.up.path("d/f"), buf)
	u.up.ok(err)
	if got := FilterList(buf[:n], layer.XattrPermNone); !bytes.Equal(got, []byte("trusted.overlay.foo\x00")) {
		t.Errorf("clients see %q", got)
	}
	if disk, _ := ClientToDisk("trusted.overlay.foo", nil, layer.XattrPermNone); string(readXattr(t, u.up.path("d/f"), disk)) != "bar" {
		t.Errorf("not kept as %s", disk)
	}
}

// isSharedWhiteout: the kernel keeps the whiteout that it links to the others.
func isSharedWhiteout(f string) bool { return strings.HasPrefix(f, "leftover work/#") }

func TestKernelUser(t *testing.T) {
	require.Overlay(t)
	require.UserNS(t)
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	u := newUnion(t)
	u.mount = u.kernel(",userxattr")
	sum, found := u.run(t, func() { u.merged.xattr("d/f", "user.overlay.foo", "bar") })
	want(t, slices.DeleteFunc(found, isSharedWhiteout), "opaque-user od", "whiteout-char gone")
	if sum.Dialect != DialectUser || sum.Copied == 0 || sum.Escaped != 1 || !sum.TrustedUnseen {
		t.Errorf("summary %+v", sum)
	}
	if o, err := ParseOrigin(readXattr(t, u.up.path("d/f"), NSUser.Origin())); err != nil {
		t.Errorf("origin %+v, %v", o, err)
	}
}

// TestKernelVolatile: the marker outlives the mount.
func TestKernelVolatile(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUnion(t)
	u.mount = u.kernel(",volatile")
	sum, found := u.run(t, nil)
	if sum.Kinds[Volatile] != 1 || sum.Worst != SevError || !slices.Contains(found, "!volatile work/incompat/volatile") {
		t.Errorf("%+v, %v", sum, found)
	}
}

// TestKernelReadsOurs gives the kernel what the functions here write.
func TestKernelReadsOurs(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUnion(t)
	u.up.mkdir("od")
	u.up.xattr("od", NSTrusted.Opaque(), "y")
	u.up.whiteout("gone")
	u.up.mkdir("mv2")
	u.up.whiteout("mv")
	u.up.xattr("mv2", NSTrusted.Redirect(), "/d")
	u.up.file("mc", "")
	u.up.ok(os.Truncate(u.up.path("mc"), int64(len("lower"))))
	u.up.xattr("mc", NSTrusted.Metacopy(), string(MetacopyValue()))
	u.mount = u.kernel(",redirect_dir=on,metacopy=on")
	u.up.ok(u.mount())
	defer func() { u.up.ok(unix.Unmount(u.merged.dir, 0)) }()
	for name, want := range map[string]string{"mc": "lower", "mv2/f": "lower", "od/x": "", "gone": "", "mv": ""} {
		b, err := os.ReadFile(u.merged.path(name))
		if string(b) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestKernelXattrWhiteout: the fallback where devices can't be made. In an upper
// the kernel still lists the name, which is why the checker warns; in a lower
// layer it is a whiteout like any other.
func TestKernelXattrWhiteout(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUnion(t)
	u.up.mkdir("d")
	u.up.xattr("d", NSTrusted.Opaque(), "x")
	u.up.file("d/f", "")
	u.up.xattr("d/f", NSTrusted.Whiteout(), "y")
	for options, listed := range map[string]int{
		u.options(): 1,
		"lowerdir=" + u.up.dir + ":" + u.lower.dir: 0,
	} {
		u.up.ok(unix.Mount("overlay", u.merged.dir, "overlay", 0, options))
		d, err := os.Open(u.merged.path("d"))
		u.up.ok(err)
		names, err := d.Readdirnames(-1)
		u.up.ok(err)
		u.up.ok(d.Close())
		if len(names) != listed {
			t.Errorf("%s: lists %v, want %d names", options, names, listed)
		}
		if _, err := os.Lstat(u.merged.path("d/f")); !os.IsNotExist(err) {
			t.Errorf("%s: stat says %v, want that it doesn't exist", options, err)
		}
		u.up.ok(unix.Unmount(u.merged.dir, 0))
	}
}

// TestFuseOverlayfs reads what the installed fuse-overlayfs leaves behind.
func TestFuseOverlayfs(t *testing.T) {
	require.FUSE(t)
	prog := require.Tool(t, "fuse-overlayfs")
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	u := newUnion(t)
	u.mount = func() error { return exec.Command(prog, "-o", u.options(), u.merged.dir).Run() }
	sum, found := u.run(t, nil)
	want(t, slices.DeleteFunc(found, func(f string) bool { return strings.Contains(f, "leftover") }),
		"?opaque-file od/.wh..wh..opq", "?opaque-fuse od", "whiteout-char gone",
		"whiteout-char od/.wh..opq", "?whiteout-in-opaque od/.wh..opq")
	if sum.Dialect != DialectFuse {
		t.Errorf("taken for %q", sum.Dialect)
	}
}

// TestFuseOverlayfsOwners reads its virtual ownership. Which of the two names
// it uses depends on its version: 1.10 still has the old one.
func TestFuseOverlayfsOwners(t *testing.T) {
	require.FUSE(t)
	prog := require.Tool(t, "fuse-overlayfs")
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	if !nsbox.ManyIDs() {
		require.Missing(t, "more than one id in the user namespace, to chown to")
	}
	u := newUnion(t)
	u.mount = func() error {
		return exec.Command(prog, "-o", u.options()+",xattr_permissions=2", u.merged.dir).Run()
	}
	sum, _ := u.run(t, func() {
		u.merged.file("new", "")
		// The other way round 1.10 forgets the owner again.
		u.merged.ok(os.Chmod(u.merged.path("new"), 0o711))
		u.merged.ok(os.Chown(u.merged.path("new"), 12, 34))
	})
	if sum.Override != OverrideUser && sum.Override != OverrideUserLegacy || sum.Kinds[BadXattr] != 0 {
		t.Errorf("summary %+v", sum)
	}
	v := readXattr(t, u.up.path("new"), sum.Override)
	o, err := ParseOverride(v)
	if err != nil || o.UID != 12 || o.GID != 34 || o.Mode&0o7777 != 0o711 {
		t.Errorf("%q is read as %+v, %v", v, o, err)
	}
}
