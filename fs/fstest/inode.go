package fstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// noUserXattr is why symlinks and special files don't keep everything.
const noUserXattr = "symlinks and special files take no user xattr that could carry the number"

// inodeCases: inode numbers that stay.
func inodeCases() []Case {
	kinds := Tree{"f": File("x"), "d/y": File("y"), "l": Sym("f"), "p": Fifo()}
	return []Case{
		{
			Name: "a copy-up keeps the inode number of every kind of object", Lower: kinds, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "d", "l", "p", "d/y"} {
					ino := e.ino(n)
					e.ok(e.utimes(n, unix.Timespec{Sec: 1}, unix.Timespec{Sec: 1}))
					e.equal(e.ino(n), ino, "inode number of "+n)
				}
				e.wantUpper("f f", "d d", "f d/y", "l l", "p p")
			},
		},
		{
			Name: "a write, a link and a rename keep it, seen through an open descriptor, too", Lower: kinds, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDONLY)
				ino := e.ino("f")
				same := func(after string, names ...string) {
					e.T.Helper()
					e.equal(e.fstat(fd).Ino, ino, "fstat after "+after)
					for _, n := range names {
						e.equal(e.ino(n), ino, n+" after "+after)
					}
				}
				e.add("f", "+")
				same("a write", "f")
				e.link("f", "d/g")
				same("link", "f", "d/g")
				e.rename("f", "f2")
				same("rename", "f2", "d/g")
				e.ok(unix.Truncate(e.p("f2"), 0))
				same("truncate", "f2", "d/g")
				e.unlink("f2")
				same("unlink", "d/g")
			},
		},
		{
			Name: "every object of every layer has a number of its own", RO: true,
			Lower: Tree{"a": File("1"), "b": File("1"), "d/x": File(""), "e/x": File(""), "l": Sym("a")},
			Over:  []Tree{{"a": File("2"), "c": File("2"), "d/y": File("")}, {"g": File("3"), "e/z": Dir()}},
			Run: func(_ *testing.T, e *Env) {
				seen := map[uint64]string{}
				for _, n := range []string{".", "a", "b", "c", "g", "l", "d", "d/x", "d/y", "e", "e/x", "e/z"} {
					ino := e.ino(n)
					e.is(seen[ino] == "", "%s and %s have inode number %d", n, seen[ino], ino)
					e.is(ino != 0, "%s has inode number 0", n)
					seen[ino] = n
				}
			},
		},
		{
			Name: "everything has the mount's device number, also after a copy-up", Lower: kinds,
			Run: func(_ *testing.T, e *Env) {
				dev := e.lstat(".").Dev
				e.add("f", "+")
				e.put("new", "")
				for _, n := range []string{"f", "new", "d", "d/y", "l", "p"} {
					e.equal(e.lstat(n).Dev, dev, "device number of "+n)
				}
			},
		},
		{
			Name: "a remount keeps the numbers of files and directories, lower, merged, copied-up and new", Needs: NeedOwn,
			Lower: kinds, Over: []Tree{{"d/z": File("")}}, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "+")
				e.put("new", "")
				e.mkdir("newdir")
				e.put("d/y", "changed")
				e.link("f", "f2")
				names := []string{".", "f", "f2", "d", "d/y", "d/z", "l", "p", "new", "newdir"}
				want := map[string]uint64{}
				for _, n := range names {
					want[n] = e.ino(n)
				}
				for range 2 {
					e.Remount(nil)
					for _, n := range names {
						e.equal(e.ino(n), want[n], "inode number of "+n)
					}
				}
			},
		},
		{
			Name: "a copied-up symlink and fifo keep their numbers over a remount", Needs: NeedOwn, Lower: kinds,
			Not: map[string]string{
				Overlay: "it records no origin for them in every mode", "userns": noUserXattr, "user": noUserXattr, "sole": noUserXattr,
			},
			Run: func(_ *testing.T, e *Env) {
				want := map[string]uint64{}
				for _, n := range []string{"l", "p"} {
					want[n] = e.ino(n)
					e.ok(e.utimes(n, unix.Timespec{Sec: 1}, unix.Timespec{Sec: 1}))
				}
				e.Remount(nil)
				for n, ino := range want {
					e.equal(e.ino(n), ino, "inode number of "+n)
				}
			},
		},
		{
			Name:  "a number that the upper uses again belongs to one object only",
			Lower: Tree{"keep": File("")},
			Run: func(_ *testing.T, e *Env) {
				for i := range 200 {
					e.put("f", "file")
					e.want("f", "file")
					e.unlink("f")
					e.mkdir("f")
					e.wantNames("f")
					e.put("f/x", "")
					e.unlink("f/x")
					e.rmdir("f")
					e.ok(unix.Symlink("keep", e.p("f")))
					e.want("f", "")
					e.unlink("f")
					if i%50 == 0 {
						e.wantUpper()
					}
				}
			},
		},
		{
			Name: "a moved directory and the files in it keep their numbers", Not: noRedirect,
			Lower: Tree{"d/s/f": File("x"), "o/y": File("")},
			Run: func(_ *testing.T, e *Env) {
				d, s, f := e.ino("d"), e.ino("d/s"), e.ino("d/s/f")
				e.rename("d", "o/d")
				e.add("o/d/s/f", "+")
				e.equal(e.ino("o/d"), d, "inode number of the directory")
				e.equal(e.ino("o/d/s"), s, "inode number of the directory in it")
				e.equal(e.ino("o/d/s/f"), f, "inode number of the file")
			},
		},
	}
}
