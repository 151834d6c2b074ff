package fstest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// dirsCases: mkdir and rmdir.
func dirsCases() []Case {
	return []Case{
		{
			Name:  "mkdir refuses every name that is taken",
			Lower: Tree{"f": File(""), "d": Dir(), "l": Sym("nowhere")},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "d", "l", "."} {
					e.fails(unix.Mkdir(e.p(n), 0o755), unix.EEXIST)
				}
				e.wantUpper()
			},
		},
		{
			Name:  "a directory made in vain ground is not opaque and leaves nothing when removed",
			Lower: Tree{"keep": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("new")
				e.mkdir("new/sub")
				e.wantNames("new", "sub")
				e.rmdir("new/sub")
				e.rmdir("new")
				e.gone("new")
				e.wantUpper()
			},
		},
		{
			Name:  "a lower directory removed and made again is empty and opaque",
			Lower: Tree{"d/f": File("old"), "d/s/g": File("old")},
			Run: func(_ *testing.T, e *Env) {
				e.ok(os.RemoveAll(e.p("d")))
				e.gone("d")
				e.wantUpper("w d")
				e.mkdir("d")
				e.wantNames("d")
				e.wantUpper("o d")
				e.gone("d/f", "d/s")
				e.mkdir("d/s")
				e.wantNames("d/s")
				e.put("d/f", "new")
				e.want("d/f", "new")
			},
		},
		{
			Name:  "a lower file removed and made again as a directory, and the other way round",
			Lower: Tree{"f": File("old"), "d/x": File("old")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("f")
				e.mkdir("f")
				e.wantNames("f")
				e.ok(os.RemoveAll(e.p("d")))
				e.put("d", "file")
				e.want("d", "file")
				e.unlink("d")
				e.rmdir("f")
				e.wantUpper("w d", "w f")
			},
		},
		{
			Name:  "rmdir refuses a directory that is not empty in any layer",
			Lower: Tree{"low/f": File(""), "mid": Dir(), "top": Dir()}, Over: []Tree{{"mid/f": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.put("top/f", "")
				for _, d := range []string{"low", "mid", "top"} {
					e.fails(unix.Rmdir(e.p(d)), unix.ENOTEMPTY)
					e.wantNames(d, "f")
				}
			},
		},
		{
			Name:  "a merged directory emptied by whiteouts can be removed",
			Lower: Tree{"d/a": File(""), "d/b": Dir()}, Over: []Tree{{"d/c": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.put("d/new", "")
				for _, n := range []string{"a", "c", "new"} {
					e.unlink("d/" + n)
				}
				e.rmdir("d/b")
				e.wantNames("d")
				e.rmdir("d")
				e.gone("d")
				e.wantUpper("w d")
			},
		},
		{
			Name:  "a lower directory that only holds whiteouts is empty",
			Lower: Tree{"d/a": File("")}, Over: []Tree{{"d/a": White()}},
			Run: func(_ *testing.T, e *Env) {
				e.wantNames("d")
				e.rmdir("d")
				e.wantUpper("w d")
			},
		},
		{
			Name:  "rmdir of a file, of dot and of dotdot is refused",
			Lower: Tree{"f": File(""), "d": Dir(), "l": Sym("d")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Rmdir(e.p("f")), unix.ENOTDIR)
				e.fails(unix.Rmdir(e.p("l")), unix.ENOTDIR)
				e.fails(unix.Rmdir(e.p("d/.")), unix.EINVAL)
				e.fails(unix.Rmdir(e.p("d/..")), unix.ENOTEMPTY)
				e.fails(unix.Rmdir(e.p("nope")), unix.ENOENT)
				e.fails(unix.Unlink(e.p("d")), unix.EISDIR)
				e.wantUpper()
			},
		},
		{
			Name:  "removing a tree of merged directories leaves one whiteout",
			Lower: Tree{"t/a/b/c/f": File(""), "t/a/g": File(""), "t/h": Sym("x")}, Over: []Tree{{"t/a/b/d/f": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.put("t/a/b/new", "")
				e.ok(os.RemoveAll(e.p("t")))
				e.wantNames(".")
				e.wantUpper("w t")
			},
		},
		{
			Name: "modes of new directories are as asked, also those that lock the maker out", Needs: NeedUsers,
			Lower: Tree{"pub": Dir().Perm(0o777)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					unix.Umask(0)
					for _, m := range []uint32{0o555, 0o500, 0o000, 0o1777, 0o700} {
						n := "pub/" + num(int(m))
						e.ok(unix.Mkdir(e.p(n), m))
						e.wantMode(n, m)
					}
					e.fails(unix.Mkdir(e.p("pub/"+num(0o555)+"/x"), 0o755), unix.EACCES)
				})
			},
		},
		{
			Name:  "a mode that a lower directory has stays when it is copied up",
			Lower: Tree{"a": Dir().Perm(0o700), "b": Dir().Perm(0o1777), "c": Dir().Perm(0o2755), "a/x/y": Dir().Perm(0o711)},
			Run: func(_ *testing.T, e *Env) {
				for _, d := range []string{"a", "b", "c", "a/x/y"} {
					before := e.mode(d)
					e.put(d+"/new", "")
					e.wantMode(d, before)
				}
			},
		},
		{
			Name:  "the link count of a directory counts its sub-directories, or is 1",
			Lower: Tree{"d/a": Dir(), "d/b": Dir(), "d/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				for _, s := range []struct {
					do   func()
					want uint64
				}{
					{func() {}, 4},
					{func() { e.mkdir("d/c") }, 5},
					{func() { e.put("d/g", "") }, 5},
					{func() { e.rmdir("d/a") }, 4},
					{func() { e.rmdir("d/c") }, 3},
					{func() { e.mkdir("d/z"); e.rename("d/z", "z") }, 3},
					{func() { e.rename("z", "d/y") }, 4},
				} {
					s.do()
					e.dirLinks("d", s.want)
				}
			},
		},
		{
			Name:  "mkdir, rmdir and unlink change the parent's times, in a copied-up parent, too",
			Lower: Tree{"d/x": Dir(), "d/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				last := e.mtime("d")
				for _, do := range []func(){
					func() { e.mkdir("d/new") }, func() { e.rmdir("d/x") }, func() { e.unlink("d/f") },
					func() { e.rename("d/new", "d/new2") }, func() { e.put("d/g", "") }, func() { e.link("d/g", "d/h") },
				} {
					tick()
					do()
					now := e.mtime("d")
					e.is(now > last, "the parent's mtime did not move: %d then %d", last, now)
					last = now
				}
			},
		},
		{
			Name:  "a directory of four hundred names is emptied and removed",
			Lower: Many("d", "f", 400),
			Run: func(_ *testing.T, e *Env) {
				for i := range 400 {
					e.unlink("d/f" + num(i))
				}
				e.rmdir("d")
				e.wantUpper("w d")
			},
		},
	}
}

// links is a link count: its type is another one on other processors.
func (e *Env) links(name string) uint64 {
	st := e.lstat(name)
	return uint64(st.Nlink)
}

// dirLinks asserts a directory's link count. In a union it may be 1, which
// tells programs that nothing was counted: so it is in kernel overlayfs for
// every merged directory.
func (e *Env) dirLinks(name string, want uint64) {
	e.T.Helper()
	if n := e.links(name); n != want && (n != 1 || !e.Union) {
		e.T.Fatalf("%s has link count %d, want %d", name, n, want)
	}
}
