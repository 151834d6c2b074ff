package fstest

import (
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// lookupCases: which object a name means when layers lie on each other.
func lookupCases() []Case {
	return []Case{
		{
			Name: "a file of the bottom layer is found", RO: true,
			Lower: Tree{"d/f": File("low")},
			Run: func(_ *testing.T, e *Env) {
				e.want("d/f", "low")
				e.wantMode("d/f", 0o644)
			},
		},
		{
			Name: "a higher layer's file hides a lower one", RO: true,
			Lower: Tree{"f": File("low")}, Over: []Tree{{"f": File("high").Perm(0o600)}},
			Run: func(_ *testing.T, e *Env) {
				e.want("f", "high")
				e.wantMode("f", 0o600)
			},
		},
		{
			Name: "directories of several layers merge", RO: true,
			Lower: Tree{"d/a": File("1"), "d/s/x": File("1")},
			Over:  []Tree{{"d/b": File("2"), "d/s/y": File("2")}, {"d/c": File("3"), "d/a": File("3")}},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames("d", "a", "b", "c", "s")
				e.wantNames("d/s", "x", "y")
				e.want("d/a", "3")
			},
		},
		{
			Name: "a merged directory has the highest layer's owner, mode and time", RO: true,
			Lower: Tree{"d": Dir().Perm(0o700).At(1e18), "d/f": File("")},
			Over:  []Tree{{"d": Dir().Perm(0o751).At(11e17)}},
			Run: func(_ *testing.T, e *Env) {
				e.wantMode("d", 0o751)
				e.equal(e.lstat("d").Mtim.Sec, int64(11e8), "mtime")
			},
		},
		{
			Name: "a whiteout in a layer hides what lies below", RO: true,
			Lower: Tree{"f": File("x"), "d/g": File("y"), "keep": File("")},
			Over:  []Tree{{"f": White(), "d": White()}},
			Run: func(_ *testing.T, e *Env) {
				e.gone("f", "d")
				e.wantNames(".", "keep")
			},
		},
		{
			Name: "what lies above a whiteout is shown", RO: true,
			Lower: Tree{"f": File("1"), "d/old": File("")},
			Over:  []Tree{{"f": White(), "d": White()}, {"f": File("3"), "d/new": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.want("f", "3")
				e.wantNames("d", "new")
				e.gone("d/old")
			},
		},
		{
			Name: "an opaque directory hides the content below it only", RO: true,
			Lower: Tree{"d/old": File(""), "e/old": File("")},
			Over:  []Tree{{"d": Opaque(), "d/new": File(""), "e/new": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames("d", "new")
				e.wantNames("e", "new", "old")
				e.gone("d/old")
			},
		},
		{
			Name: "a directory above a file ends the merge", RO: true,
			Lower: Tree{"d/a": File("")}, Over: []Tree{{"d": File("file")}, {"d": Opaque(), "d/b": File("")}},
			Run: func(_ *testing.T, e *Env) { e.wantNames("d", "b") },
		},
		{
			Name: "a file above a directory hides it", RO: true,
			Lower: Tree{"d/a": File("")}, Over: []Tree{{"d": File("file")}},
			Run: func(_ *testing.T, e *Env) {
				e.want("d", "file")
				_, err := os.Lstat(e.p("d/a"))
				e.fails(err, unix.ENOTDIR)
			},
		},
		{
			Name: "an absent name is ENOENT, a path through a file ENOTDIR", RO: true,
			Lower: Tree{"f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.gone("nope", "nope")
				_, err := os.Lstat(e.p("f/x"))
				e.fails(err, unix.ENOTDIR)
				_, err = os.Lstat(e.p("f/"))
				e.fails(err, unix.ENOTDIR)
			},
		},
		{
			Name:  "a name looked up in vain can be made and is then found",
			Lower: Tree{"d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.gone("d/x")
				e.put("d/x", "1")
				e.want("d/x", "1")
				e.unlink("d/x")
				e.gone("d/x")
				e.mkdir("d/x")
				e.wantNames("d/x")
			},
		},
		{
			Name: "dot and dotdot lead where they should", RO: true,
			Lower: Tree{"d/s/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.equal(e.ino("d/s/.."), e.ino("d"), "d/s/..")
				e.equal(e.ino("d/s/."), e.ino("d/s"), "d/s/.")
				var st unix.Stat_t
				e.ok(unix.Lstat(e.Mount.Dir+"/"+e.Name, &st))
				e.equal(e.ino("d/.."), st.Ino, "d/..")
			},
		},
		{
			Name: "names with odd bytes are kept", RO: true,
			Lower: Tree{"a b": File(""), "x\ny": File(""), "\xff\xfe": File(""), "a,b:c\\d": File(""), "-rf": File(""), ".wh": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames(".", "a b", "x\ny", "\xff\xfe", "a,b:c\\d", "-rf", ".wh")
				for _, n := range e.names(".") {
					e.want(n, "")
				}
			},
		},
		{
			Name: "names that differ in case only are different", RO: true,
			Lower: Tree{"Name": File("1"), "name": File("2"), "NAME": File("3")},
			Run: func(_ *testing.T, e *Env) {
				e.want("Name", "1")
				e.want("name", "2")
				e.want("NAME", "3")
			},
		},
		{
			Name: "a lower path of forty directories is walked", RO: true,
			Lower: Tree{deepName(40) + "/f": File("deep")},
			Run:   func(_ *testing.T, e *Env) { e.want(deepName(40)+"/f", "deep") },
		},
		{
			Name:  "a lower symlink leads through the mount and not into the layer",
			Lower: Tree{"to": File("low"), "abs": Sym("/proc/self/comm"), "rel": Sym("to"), "dir": Sym("d"), "d/f": File("1")},
			Run: func(_ *testing.T, e *Env) {
				e.put("to", "new")
				e.want("rel", "new")
				e.want("dir/f", "1")
				e.put("dir/f", "2")
				e.want("d/f", "2")
				target, err := os.Readlink(e.p("abs"))
				e.ok(err)
				e.equal(target, "/proc/self/comm", "readlink")
			},
		},
	}
}

// deepName is a path of n directories.
func deepName(n int) string { return path.Clean(strings.Repeat("dir/", n)) }
