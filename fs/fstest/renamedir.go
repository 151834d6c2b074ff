package fstest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// noRedirect is why kernel overlayfs refuses to rename a directory of a
// lower.
var noRedirect = map[string]string{
	"overlay":        "EXDEV without redirect_dir",
	"overlay-userns": "EXDEV: no redirects with userxattr",
}

// renamedirCases: rename of directories, with no EXDEV.
func renamedirCases() []Case {
	low := Tree{"d/f": File("F"), "d/s/g": File("G"), "d/s/l": Sym("g"), "d/x": File("X"), "o/keep": File("")}
	return []Case{
		{
			Name:  "a new directory moves with what is in it",
			Lower: Tree{"o/keep": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("d")
				e.mkdir("d/s")
				e.put("d/s/f", "F")
				ino := e.ino("d")
				e.rename("d", "o/n")
				e.want("o/n/s/f", "F")
				e.equal(e.ino("o/n"), ino, "inode number")
				e.gone("d")
				e.wantNames("o", "keep", "n")
				e.wantNames(".", "o")
				e.ok(os.RemoveAll(e.p("o/n")))
				e.wantUpper("d o")
			},
		},
		{
			Name: "a lower directory is renamed", Lower: low, Differs: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				if e.Differs() {
					e.fails(unix.Rename(e.p("d"), e.p("n")), unix.EXDEV)
					e.wantUpper()
					return
				}
				ino, sub := e.ino("d"), e.ino("d/s/g")
				e.rename("d", "n")
				e.gone("d")
				e.wantNames(".", "n", "o")
				e.wantNames("n", "f", "s", "x")
				e.want("n/f", "F")
				e.want("n/s/g", "G")
				e.want("n/s/l", "G")
				e.equal(e.ino("n"), ino, "inode number")
				e.equal(e.ino("n/s/g"), sub, "inode number of a file in it")
				e.wantKind("d", "w")
			},
		},
		{
			Name: "a merged directory with changes in it is renamed", Lower: low, Over: []Tree{{"d/y": File("Y"), "d/x": White()}}, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.put("d/new", "N")
				e.unlink("d/f")
				e.add("d/s/g", "+")
				e.rename("d", "o/n")
				e.gone("d")
				e.wantNames("o/n", "new", "s", "y")
				e.want("o/n/s/g", "G+")
				e.want("o/n/new", "N")
				e.gone("o/n/f", "o/n/x")
			},
		},
		{
			Name: "the old name can be made again and is empty", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "n")
				e.mkdir("d")
				e.wantNames("d")
				e.gone("d/f", "d/s")
				e.put("d/f", "other")
				e.want("n/f", "F")
				e.want("d/f", "other")
			},
		},
		{
			Name: "a directory comes back to its old name", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "n")
				e.rename("n", "m")
				e.rename("m", "d")
				e.wantNames("d", "f", "s", "x")
				e.wantNames(".", "d", "o")
				e.want("d/s/g", "G")
				e.gone("n", "m")
			},
		},
		{
			Name: "files in a renamed directory can be changed, removed and added", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "n")
				e.add("n/f", "!")
				e.want("n/f", "F!")
				e.unlink("n/x")
				e.gone("n/x")
				e.put("n/s/new", "N")
				e.wantNames("n/s", "g", "l", "new")
				e.rename("n/s", "n/t")
				e.wantNames("n", "f", "t")
				e.want("n/t/g", "G")
				e.ok(os.RemoveAll(e.p("n")))
				e.wantNames(".", "o")
			},
		},
		{
			Name:  "a directory moved to where a lower has one of that name doesn't merge with it",
			Lower: Tree{"d/f": File("F"), "o/d/old": File("O")}, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.unlink("o/d/old")
				e.rename("d", "o/d")
				e.wantNames("o/d", "f")
				e.gone("o/d/old")
				e.rename("o/d", "d")
				e.wantNames("d", "f")
				e.mkdir("o/d")
				e.wantNames("o/d")
			},
		},
		{
			Name:  "a new directory replaces an empty lower one, not a full one",
			Lower: Tree{"empty": Dir(), "full/f": File(""), "white/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("n")
				e.put("n/x", "X")
				e.fails(unix.Rename(e.p("n"), e.p("full")), unix.ENOTEMPTY, unix.EEXIST)
				e.unlink("white/f")
				e.rename("n", "empty")
				e.wantNames("empty", "x")
				e.rename("empty", "white")
				e.wantNames("white", "x")
				e.want("white/x", "X")
				e.gone("n", "empty", "white/f")
				e.wantNames(".", "full", "white")
			},
		},
		{
			Name: "a lower directory replaces an empty one", Lower: low, Over: []Tree{{"empty": Dir()}}, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "empty")
				e.wantNames("empty", "f", "s", "x")
				e.fails(unix.Rename(e.p("empty"), e.p("o")), unix.ENOTEMPTY, unix.EEXIST)
				e.gone("d")
			},
		},
		{
			Name: "into itself is EINVAL, over its own parent ENOTEMPTY", Lower: low,
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Rename(e.p("d"), e.p("d/s/d")), unix.EINVAL)
				e.fails(unix.Rename(e.p("d/s"), e.p("d")), unix.ENOTEMPTY, unix.EEXIST)
				e.fails(unix.Rename(e.p("d/."), e.p("n")), unix.EBUSY, unix.EINVAL)
				e.wantUpper()
			},
		},
		{
			Name: "RENAME_NOREPLACE of directories", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.fails(e.rename2("d", "o", unix.RENAME_NOREPLACE), unix.EEXIST)
				e.ok(e.rename2("d", "n", unix.RENAME_NOREPLACE))
				e.want("n/f", "F")
			},
		},
		{
			Name: "RENAME_EXCHANGE of lower directories", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				id, io := e.ino("d"), e.ino("o")
				e.ok(e.rename2("d", "o", unix.RENAME_EXCHANGE))
				e.wantNames("d", "keep")
				e.wantNames("o", "f", "s", "x")
				e.equal(e.ino("d"), io, "inode number of d")
				e.equal(e.ino("o"), id, "inode number of o")
				e.want("o/s/g", "G")
				e.wantNames(".", "d", "o")
			},
		},
		{
			Name: "RENAME_EXCHANGE of a lower directory and a lower file", Lower: low, Over: []Tree{{"file": File("file")}}, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.ok(e.rename2("d", "file", unix.RENAME_EXCHANGE))
				e.want("d", "file")
				e.want("file/s/g", "G")
				e.ok(e.rename2("file", "d", unix.RENAME_EXCHANGE))
				e.want("d/s/g", "G")
			},
		},
		{
			Name: "what was open in a renamed directory goes on", Lower: low, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				dir, f := e.opendir("d/s"), e.open("d/s/g", unix.O_RDWR)
				e.rename("d", "o/n")
				e.pwrite(f, "2", 0)
				e.want("o/n/s/g", "2")
				fd, err := unix.Openat(dir, "made", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
				e.ok(err)
				unix.Close(fd)
				e.wantNames("o/n/s", "g", "l", "made")
				var st unix.Stat_t
				e.ok(unix.Fstatat(dir, "../..", &st, 0))
				e.equal(st.Ino, e.ino("o"), "dotdot of the renamed directory")
			},
		},
		{
			Name: "the link counts of both parents follow", Lower: low,
			Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				top, o := e.links("."), e.links("o")
				e.rename("d", "o/d")
				e.dirLinks(".", top-1)
				e.dirLinks("o", o+1)
			},
		},
		{
			Name: "a rename stays after a remount", Lower: low, Needs: NeedOwn, Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "o/n")
				e.rename("o/n/s", "s")
				e.mkdir("d")
				e.put("d/new", "")
				e.Remount(nil)
				e.wantNames("d", "new")
				e.wantNames("o/n", "f", "x")
				e.wantNames("s", "g", "l")
				e.want("s/g", "G")
			},
		},
		{
			Name: "a lower directory of three hundred files is renamed", Lower: Many("d/s", "f", 300), Not: noRedirect,
			Run: func(_ *testing.T, e *Env) {
				e.rename("d", "n")
				e.equal(len(e.names("n/s")), 300, "number of names")
				e.gone("d")
			},
		},
	}
}
