package fstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// unlinkCases: unlink, and the whiteouts that it leaves or doesn't.
func unlinkCases() []Case {
	return []Case{
		{
			Name:  "a lower file is removed by a whiteout and nothing else",
			Lower: Tree{"f": File("data"), "d/g": File("data"), "d/h": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("f")
				e.unlink("d/g")
				e.gone("f", "d/g")
				e.wantNames(".", "d")
				e.wantNames("d", "h")
				e.wantUpper("w f", "d d", "w d/g")
			},
		},
		{
			Name:  "a file of the upper only leaves nothing",
			Lower: Tree{"d/keep": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "x")
				e.put("d/f", "x")
				e.unlink("f")
				e.unlink("d/f")
				e.wantUpper("d d")
			},
		},
		{
			Name:  "a copied-up file is replaced by a whiteout",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "y")
				e.wantUpper("f f")
				e.unlink("f")
				e.gone("f")
				e.wantUpper("w f")
			},
		},
		{
			Name:  "symlinks and fifos of a lower are removed by a whiteout",
			Lower: Tree{"l": Sym("keep"), "p": Fifo(), "keep": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("l")
				e.unlink("p")
				e.wantNames(".", "keep")
				e.want("keep", "x")
				e.wantUpper("w l", "w p")
			},
		},
		{
			Name:  "a file that lies in two layers is gone from both",
			Lower: Tree{"f": File("1")}, Over: []Tree{{"f": File("2")}},
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "3")
				e.unlink("f")
				e.gone("f")
				e.put("f", "4")
				e.want("f", "4")
				e.unlink("f")
				e.wantUpper("w f")
			},
		},
		{
			Name:  "in an opaque directory no whiteouts are made",
			Lower: Tree{"d/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("d/f")
				e.rmdir("d")
				e.mkdir("d")
				e.put("d/f", "new")
				e.unlink("d/f")
				e.wantUpper("o d")
			},
		},
		{
			Name:  "a file hidden by a whiteout of a layer needs no other one",
			Lower: Tree{"f": File("")}, Over: []Tree{{"f": White()}}, Needs: NeedUnion,
			Not: map[string]string{
				"lowers1": "with one layer there is nothing under the file",
				Overlay:   "overlayfs puts one wherever the parent is merged: it doesn't look",
			},
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "new")
				e.unlink("f")
				e.gone("f")
				e.wantUpper()
			},
		},
		{
			Name:  "unlink twice is ENOENT, and of an absent name ENOENT",
			Lower: Tree{"f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("f")
				e.fails(unix.Unlink(e.p("f")), unix.ENOENT)
				e.fails(unix.Unlink(e.p("nope")), unix.ENOENT)
				e.wantUpper("w f")
			},
		},
		{
			Name:  "a name removed and made again a hundred times is right each time",
			Lower: Tree{"f": File("low")},
			Run: func(_ *testing.T, e *Env) {
				for i := range 100 {
					e.unlink("f")
					e.gone("f")
					e.put("f", num(i))
					e.want("f", num(i))
				}
				e.wantUpper("f f")
			},
		},
		{
			Name: "in a sticky directory only the owner removes", Needs: NeedUsers,
			Lower: Tree{
				"tmp":   Dir().Perm(0o1777),
				"tmp/a": File("").Own(alice, alice).Perm(0o666), "tmp/b": File("").Own(bob, bob).Perm(0o666), "tmp/d": Dir().Own(bob, bob),
			},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.fails(unix.Unlink(e.p("tmp/b")), unix.EPERM)
					e.fails(unix.Rename(e.p("tmp/b"), e.p("tmp/c")), unix.EPERM)
					e.fails(unix.Rename(e.p("tmp/a"), e.p("tmp/b")), unix.EPERM)
					e.fails(unix.Rmdir(e.p("tmp/d")), unix.EPERM)
					e.unlink("tmp/a")
				})
				e.wantNames("tmp", "b", "d")
				e.wantUpper("d tmp", "w tmp/a")
				e.wantMode("tmp", 0o1777)
			},
		},
		{
			Name:    "the link count of the other name goes down, and its data stays",
			Lower:   Tree{"a": File("data"), "b": Link("a"), "known-c": Link("a")},
			Differs: map[string]string{Overlay: "without an index overlayfs shows the lower's link count; with one it needs both names seen"},
			Run: func(_ *testing.T, e *Env) {
				e.equal(e.lstat("a").Nlink, uint64(3), "link count before")
				e.unlink("a")
				e.want("b", "data")
				if !e.Differs() {
					e.equal(e.lstat("b").Nlink, uint64(2), "link count after")
				}
				e.unlink("b")
				e.want("known-c", "data")
				e.wantUpper("w a", "w b")
			},
		},
	}
}
