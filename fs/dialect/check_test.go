package dialect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/sys"
)

// upper builds an upper directory by hand.
type upper struct {
	t   *testing.T
	dir string
}

func newUpper(t *testing.T) upper { return upper{t, t.TempDir()} }

func (u upper) path(name string) string { return filepath.Join(u.dir, name) }

func (u upper) ok(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u upper) mkdir(name string) { u.t.Helper(); u.ok(os.MkdirAll(u.path(name), 0o755)) }
func (u upper) file(name, data string) {
	u.t.Helper()
	u.ok(os.WriteFile(u.path(name), []byte(data), 0o644))
}

func (u upper) node(name string, mode uint32, dev uint64) {
	u.t.Helper()
	u.ok(unix.Mknod(u.path(name), mode, int(dev)))
}
func (u upper) whiteout(name string) { u.t.Helper(); u.node(name, unix.S_IFCHR, 0) }
func (u upper) xattr(name, attr, value string) {
	u.t.Helper()
	u.ok(unix.Lsetxattr(u.path(name), attr, []byte(value), 0))
}

// check runs Check on the upper, and gives each finding as "kind path", with
// "!" before errors and "?" before warnings.
func (u upper) check(work string) (Summary, []string) {
	u.t.Helper()
	var found []string
	sum, err := checkDir(u.t, u.dir, work, func(f Finding) {
		found = append(found, [...]string{"", "?", "!"}[f.Severity]+f.Kind.String()+" "+f.Path)
		if s := f.String(); strings.ContainsAny(s, "\n\x00\x1b") {
			u.t.Errorf("a finding of more than a plain line: %q", s)
		}
	})
	u.ok(err)
	slices.Sort(found)
	return sum, found
}

func checkDir(t testing.TB, dir, work string, report func(Finding)) (Summary, error) {
	t.Helper()
	fd, e := sys.Open(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(fd)
	wfd := -1
	if work != "" {
		if wfd, e = sys.Open(unix.AT_FDCWD, work, unix.O_PATH|unix.O_DIRECTORY, 0); e != 0 {
			t.Fatal(e)
		}
		defer sys.Close(wfd)
	}
	return Check(fd, wfd, report)
}

// want fails unless the findings are these.
func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

const goodOrigin = "\x00\xfb\x1d\x00\x01\x9c\xf8\xc5\xed\xb6\x0f\x41\xb2\xbb\xb8\x48\x8f\xf8\xa0\xca\xfa\x03\x00\x01\x00\x16\xcc\x1c\x08"

func TestCheckCleanUppers(t *testing.T) {
	require.Root(t)
	for _, ns := range []NS{NSTrusted, NSUser} {
		u := newUpper(t)
		u.mkdir("d/od")
		u.file("d/f", "x")
		u.whiteout("d/gone")
		u.ok(os.Symlink("/nowhere", u.path("d/ln")))
		u.xattr("", ns.UUID(), strings.Repeat("u", 16))
		u.xattr("", ns.Impure(), "y")
		u.xattr("d", ns.Impure(), "y")
		u.xattr("d", ns.Origin(), goodOrigin)
		u.xattr("d/f", ns.Origin(), "")
		u.xattr("d/f", ns.Nlink(), "U+1")
		u.xattr("d/f", ns.Protattr(), "ia")
		u.xattr("d/f", ns.Prefix()+"overlay.opaque", "whatever")
		u.xattr("d/f", "user.mine", "1")
		u.xattr("d/od", ns.Opaque(), "y")
		sum, found := u.check("")
		kind, dialect := "opaque-trusted", DialectTrusted
		if ns == NSUser {
			kind, dialect = "opaque-user", DialectUser
		}
		want(t, found, "whiteout-char d/gone", kind+" d/od")
		if sum.Dialect != dialect || sum.Worst != SevInfo || sum.Dirs != 3 || sum.Files != 2 ||
			sum.Copied != 2 || sum.Escaped != 1 || sum.TrustedUnseen {
			t.Errorf("summary %+v", sum)
		}
	}
}

func TestCheckDialects(t *testing.T) {
	require.Root(t)
	for _, g := range []struct {
		want  Dialect
		build func(u upper)
	}{
		{DialectPlain, func(upper) {}},
		{DialectPlain, func(u upper) { u.whiteout("a") }},
		{DialectTrusted, func(u upper) { u.xattr("d", NSTrusted.Opaque(), "y") }},
		{DialectTrusted, func(u upper) { u.xattr("d", NSTrusted.Impure(), "y") }},
		{DialectUser, func(u upper) { u.xattr("d", NSUser.Opaque(), "y") }},
		{DialectUser, func(u upper) { u.xattr("d", NSUser.Opaque(), "x") }},
		{DialectAUFS, func(u upper) { u.file(".wh.a", "") }},
		{DialectAUFS, func(u upper) { u.file("d/.wh..wh..opq", "") }},
		{DialectAUFS, func(u upper) { u.file(".wh..wh.plnk", "") }},
		// As fuse-overlayfs 1.x leaves it: unprivileged, privileged, 2.0.
		{DialectFuse, func(u upper) { u.xattr("d", FuseOpaque, "y"); u.file("d/.wh..wh..opq", "") }},
		{DialectFuse, func(u upper) { u.xattr("d", NSTrusted.Opaque(), "y"); u.file("d/.wh..wh..opq", "") }},
		{DialectFuse, func(u upper) { u.xattr("d", NSUser.Opaque(), "y"); u.file("d/.wh..wh..opq", "") }},
		{DialectFuse, func(u upper) { u.xattr("d", FuseOrigin, "d\x00"); u.file(".wh.a", "") }},
		{DialectMixed, func(u upper) { u.xattr("", NSTrusted.Impure(), "y"); u.xattr("d", FuseOpaque, "y") }},
		{DialectMixed, func(u upper) { u.xattr("", NSTrusted.Impure(), "y"); u.xattr("d", NSUser.Opaque(), "y") }},
		{DialectMixed, func(u upper) { u.xattr("d", NSUser.Opaque(), "y"); u.file(".wh.a", "") }},
	} {
		u := newUpper(t)
		u.mkdir("d")
		g.build(u)
		if sum, found := u.check(""); sum.Dialect != g.want {
			t.Errorf("%v is taken for %q, want %q", found, sum.Dialect, g.want)
		}
	}
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func TestCheckWorkDir(t *testing.T) {
	require.Root(t)
	u, w := newUpper(t), newUpper(t)
	for _, d := range []string{"work/incompat/volatile", "work/incompat/later", "work/#1f", "work/7", "work/odd", "index", "plyfs", "12", "mine"} {
		w.mkdir(d)
	}
	w.file("work/incompat/volatile/dirty", "")
	w.whiteout("work/#c")
	sum, found := u.check(w.dir)
	want(t, found, "!volatile work/incompat/volatile", "!volatile work/incompat/later", "?leftover work/#1f",
		"leftover work/#c", "?leftover work/7", "?leftover work/odd", "?leftover 12", "?work-entry mine")
	if sum.Worst != SevError || sum.Kinds[Volatile] != 2 {
		t.Errorf("summary %+v", sum)
	}
	if _, found := u.check(newUpper(t).dir); len(found) != 0 {
		t.Errorf("an empty work directory: %v", found)
	}
}

func TestFindingIsOneLine(t *testing.T) {
	for _, g := range []struct {
		f    Finding
		want string
	}{
		{Finding{Path: "a/b", Kind: WhiteoutChar}, "info whiteout-char a/b"},
		{
			Finding{Path: "a\nb\x1b[0m", Kind: Leftover, Severity: SevWarning, InWork: true, Detail: "x"},
			`warning leftover workdir:"a\nb\x1b[0m": x`,
		},
		{Finding{Path: "a b", Kind: BadXattr, Severity: SevError}, `error bad-xattr "a b"`},
		{Finding{Path: "\xff", Kind: BadXattr, Severity: SevError}, `error bad-xattr "\xff"`},
		{Finding{Path: "größe", Kind: BadXattr, Severity: SevError}, `error bad-xattr größe`},
	} {
		if got := g.f.String(); got != g.want {
			t.Errorf("%q, want %q", got, g.want)
		}
	}
	for k := range numKinds {
		if k.String() == "" {
			t.Errorf("kind %d has no word", k)
		}
	}
}
