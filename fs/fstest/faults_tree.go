package fstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// faultsTreeCases: faults seen in other union filesystems, those of names,
// nodes and layers. The names say what went wrong there.
func faultsTreeCases() []Case {
	return []Case{
		{
			Name: "no stale node: a number used again is no other object's kind",
			Run: func(_ *testing.T, e *Env) {
				for i := range 100 {
					n := "x" + num(i%3)
					e.put(n, "file")
					e.ok(unix.Chmod(e.p(n), 0o601))
					e.wantMode(n, 0o601)
					e.unlink(n)
					e.mkdir(n)
					e.wantMode(n, 0o755)
					e.put(n+"/in", "")
					_, err := os.ReadDir(e.p(n))
					e.ok(err)
					e.fails(unix.Rmdir(e.p(n)), unix.ENOTEMPTY)
					e.unlink(n + "/in")
					e.rmdir(n)
					e.ok(unix.Mknod(e.p(n), unix.S_IFIFO|0o600, 0))
					e.equal(e.lstat(n).Mode, uint32(unix.S_IFIFO|0o600), "mode")
					e.unlink(n)
				}
				e.wantNames(".")
			},
		},
		{
			Name: "no stale node: a number used again has no other object's owner", Needs: NeedUsers,
			Lower: Tree{"d": Dir().Perm(0o777)},
			Run: func(_ *testing.T, e *Env) {
				for i := range 60 {
					e.as(alice+i%2*1000, alice+i%2*1000, func() {
						e.open("d/f", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
					})
					e.wantOwner("d/f", uint32(alice+i%2*1000), uint32(alice+i%2*1000))
					e.unlink("d/f")
					e.closeAll()
				}
			},
		},
		{
			Name:  "no stale node: trees removed and made again are removed again",
			Lower: Tree{"t/a/b/c": File("low"), "t/a/d": File("low"), "t/e": Sym("a")},
			Run: func(_ *testing.T, e *Env) {
				for i := range 15 {
					e.ok(os.RemoveAll(e.p("t")))
					e.gone("t")
					for j := range 5 {
						e.ok(os.MkdirAll(e.p(fmt.Sprintf("t/a/%d/b", j)), 0o755))
						e.put(fmt.Sprintf("t/a/%d/b/c", j), num(i))
					}
					e.put("t/a/d", "")
					e.wantNames("t/a", "0", "1", "2", "3", "4", "d")
					e.want("t/a/3/b/c", num(i))
				}
			},
		},
		{
			Name:  "no stale node: what takes the place of a replaced directory doesn't list its names",
			Lower: manyOwn(20), Over: []Tree{{"white/f": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("n")
				e.unlink("white/f")
				e.rename("n", "white")
				time.Sleep(100 * time.Millisecond) // the kernel forgets the old directory
				for i := range 20 {
					e.wantNames("c"+num(i), "own")
				}
				e.wantNames("white")
			},
		},
		{
			Name:  "a lower name of 255 bytes doesn't kill the server",
			Lower: Tree{long('a'): File("1"), long('b') + "/" + long('c') + "/" + long('d'): File("2"), long('w'): File("3")},
			Over:  []Tree{{long('w'): White()}},
			Run: func(_ *testing.T, e *Env) {
				e.want(long('a'), "1")
				e.want(long('b')+"/"+long('c')+"/"+long('d'), "2")
				e.wantNames(".", long('a'), long('b'))
				e.gone(long('w'))
				e.unlink(long('a'))
				e.add(long('b')+"/"+long('c')+"/"+long('d'), "+")
				e.want(long('b')+"/"+long('c')+"/"+long('d'), "2+")
			},
		},
		{
			Name: "a name of more than 255 bytes is ENAMETOOLONG and not ENOENT", RO: true,
			Lower: Tree{"d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []int{256, 300, 1000, 4000 - len(e.Dir)} {
					var st unix.Stat_t
					e.fails(unix.Lstat(e.p("d/"+strings.Repeat("x", n)), &st), unix.ENAMETOOLONG)
				}
			},
		},
		{
			Name:  "a server that joins paths fails near PATH_MAX: a deep tree of short steps",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				const depth = 600
				e.alone(func() {
					e.ok(unix.Chdir(e.Dir))
					for range depth {
						e.ok(unix.Mkdir("directory", 0o755))
						e.ok(unix.Chdir("directory"))
					}
					for _, err := range []error{
						os.WriteFile("f", []byte("deep"), 0o600), unix.Symlink("f", "l"), unix.Link("f", "g"),
						unix.Rename("g", "h"), unix.Chmod("h", 0o644), unix.Setxattr("f", "user.k", []byte("v"), 0), unix.Unlink("l"),
					} {
						e.ok(err)
					}
					b, err := os.ReadFile("h")
					e.ok(err)
					e.equal(string(b), "deep", "content")
				})
				e.ok(os.RemoveAll(e.p("directory")))
				e.wantUpper()
			},
		},
		{
			Name: "the server's own umask is not applied", Needs: NeedOwn,
			Lower: Tree{"d/f": File("x").Perm(0o666)},
			Run: func(_ *testing.T, e *Env) {
				old := unix.Umask(0o077)
				e.Remount(nil) // the server is started with this umask
				unix.Umask(0)
				defer unix.Umask(old)
				e.open("d/new", unix.O_CREAT|unix.O_WRONLY, 0o666)
				e.ok(unix.Mkdir(e.p("d/dir"), 0o777))
				e.ok(unix.Mknod(e.p("d/p"), unix.S_IFIFO|0o666, 0))
				e.add("d/f", "+")
				e.wantMode("d/new", 0o666)
				e.wantMode("d/dir", 0o777)
				e.wantMode("d/p", 0o666)
				e.wantMode("d/f", 0o666)
				e.wantMode("d", 0o755)
			},
		},
		{
			Name:  "sticky and setgid bits of a parent are not lost when it is copied up",
			Lower: Tree{"tmp": Dir().Perm(0o1777), "tmp/a/f": File("x"), "tmp/a": Dir().Perm(0o2775), "tmp/a/b": Dir().Perm(0o3770), "tmp/a/b/g": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.add("tmp/a/b/g", "+")
				e.wantMode("tmp", 0o1777)
				e.wantMode("tmp/a", 0o2775)
				e.wantMode("tmp/a/b", 0o3770)
				if e.Union && !e.Variant.Override {
					var st unix.Stat_t
					e.ok(unix.Lstat(e.Upper("tmp/a/b"), &st))
					e.equal(st.Mode&0o7777, uint32(0o3770), "mode in the upper")
				}
			},
		},
		{
			Name: "a directory deleted and made again in a later layer doesn't show its old files", RO: true,
			Lower: Tree{"d/old": File(""), "d/s/old": File("")}, Over: []Tree{{"d": White()}, {"d/new": File(""), "d/s/new": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames("d", "new", "s")
				e.wantNames("d/s", "new")
				e.gone("d/old", "d/s/old")
			},
		},
		{
			Name: "the same when mount and unmount lie between", Needs: NeedOwn,
			Lower: Tree{"d/old": File(""), "d/s/old": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.ok(os.RemoveAll(e.p("d")))
				e.Remount(nil)
				e.gone("d")
				e.ok(os.MkdirAll(e.p("d/s"), 0o755))
				e.Remount(nil)
				e.wantNames("d", "s")
				e.wantNames("d/s")
				e.put("d/s/new", "")
				e.Remount(nil)
				e.wantNames("d/s", "new")
			},
		},
		{
			Name:  "no needless whiteouts over nothing",
			Lower: Tree{"d/f": File(""), "e": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.put("new", "")
				e.rename("new", "new2")
				e.unlink("new2")
				e.mkdir("dir")
				e.rename("dir", "dir2")
				e.rmdir("dir2")
				e.put("e/a", "")
				e.rename("e/a", "e/b")
				e.link("e/b", "e/c")
				e.unlink("e/b")
				e.rename("e/c", "d/c")
				e.unlink("d/c")
				e.ok(unix.Symlink("x", e.p("l")))
				e.unlink("l")
				e.wantUpper("d d", "d e")
			},
		},
		{
			Name: "a directory of the upper swapped for a symlink leads nowhere", Needs: NeedOwn | NeedUnion,
			Lower: Tree{"d/s/low": File("low"), "x": File("")},
			Not:   map[string]string{Overlay: "changes of a mounted upper are undefined there"},
			Run: func(_ *testing.T, e *Env) {
				outside := filepath.Join(filepath.Dir(e.Mount.Dir), "outside")
				e.ok(os.MkdirAll(outside+"/s", 0o777))
				e.ok(os.WriteFile(outside+"/s/secret", []byte("secret"), 0o666))
				e.put("d/s/up", "up")
				before, err := Snapshot(outside, WithTimes|WithCtime|WithXattrs|WithNlink)
				e.ok(err)
				e.ok(os.Rename(e.Upper("d"), e.Upper("d-moved")))
				e.ok(os.Symlink(outside, e.Upper("d")))
				// Whatever these give, they touch nothing outside.
				for _, n := range []string{"d/s/secret", "d/s/low", "d/s/up", "d/s/new"} {
					if b, err := os.ReadFile(e.p(n)); err == nil && string(b) == "secret" {
						e.T.Errorf("%s shows a file from outside", n)
					}
					os.WriteFile(e.p(n), []byte("overwritten"), 0o644)
					unix.Chmod(e.p(n), 0o700)
					unix.Setxattr(e.p(n), "user.k", []byte("v"), 0)
					unix.Rename(e.p(n), e.p(n+"2"))
					unix.Unlink(e.p(n))
				}
				unix.Mkdir(e.p("d/s/dir"), 0o755)
				unix.Rmdir(e.p("d/s"))
				os.ReadDir(e.p("d/s"))
				after, err := Snapshot(outside, WithTimes|WithCtime|WithXattrs|WithNlink)
				e.ok(err)
				if d := Diff("before", before, "after", after); d != "" {
					e.T.Errorf("outside was touched:\n%s", d)
				}
				e.Remount(func() {
					e.ok(os.Remove(e.Upper("d")))
					e.ok(os.RemoveAll(e.Upper("d-moved")))
				})
			},
		},
	}
}

// manyOwn is n directories with a file each.
func manyOwn(n int) Tree {
	t := Tree{}
	for i := range n {
		t["c"+num(i)+"/own"] = File("")
	}
	return t
}
