package fstest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// linkCases: hard links, those of the lowers and new ones.
func linkCases() []Case {
	noIndex := map[string]string{
		"overlay":        "lower hard links break at copy-up without index=on",
		"overlay-userns": "lower hard links break at copy-up without index=on",
	}
	return []Case{
		{
			Name:  "a link to a lower file is the same file",
			Lower: Tree{"a": File("data"), "d/x": File("")}, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				ino := e.ino("a")
				e.link("a", "d/b")
				e.equal(e.ino("d/b"), ino, "inode number of the link")
				e.equal(e.ino("a"), ino, "inode number of the file")
				for _, n := range []string{"a", "d/b"} {
					e.equal(e.lstat(n).Nlink, uint64(2), "link count of "+n)
				}
				e.put("d/b", "new")
				e.want("a", "new")
				e.unlink("a")
				e.want("d/b", "new")
				e.equal(e.lstat("d/b").Nlink, uint64(1), "link count")
			},
		},
		{
			Name:  "link refuses what exists, directories and absent names",
			Lower: Tree{"a": File("A"), "b": File("B"), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Link(e.p("a"), e.p("b")), unix.EEXIST)
				e.fails(unix.Link(e.p("a"), e.p("a")), unix.EEXIST)
				e.fails(unix.Link(e.p("d"), e.p("d2")), unix.EPERM)
				e.fails(unix.Link(e.p("nope"), e.p("n")), unix.ENOENT)
				e.fails(unix.Link(e.p("a"), e.p("nope/n")), unix.ENOENT)
				e.wantUpper()
			},
		},
		{
			Name:  "a link can be made where a whiteout lies",
			Lower: Tree{"a": File("A"), "b": File("B")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("b")
				e.link("a", "b")
				e.want("b", "A")
				e.unlink("b")
				e.gone("b")
				e.want("a", "A")
				e.wantKind("b", "w")
			},
		},
		{
			Name:  "link names the symlink itself, and fifos",
			Lower: Tree{"l": Sym("a"), "a": File("A"), "p": Fifo()}, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				e.link("l", "l2")
				target, err := os.Readlink(e.p("l2"))
				e.ok(err)
				e.equal(target, "a", "target")
				e.equal(e.ino("l2"), e.ino("l"), "inode number")
				e.link("p", "p2")
				e.equal(e.ino("p2"), e.ino("p"), "inode number")
				e.equal(e.lstat("a").Nlink, uint64(1), "link count of the target")
			},
		},
		{
			Name: "the names of a lower file show one inode and their count", RO: true,
			Lower: Tree{"a": File("data"), "d/b": Link("a"), "c": Link("a")},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"a", "d/b", "c"} {
					e.equal(e.ino(n), e.ino("a"), "inode number of "+n)
					e.equal(e.lstat(n).Nlink, uint64(3), "link count of "+n)
				}
			},
		},
		{
			Name:  "what is written through one name of a lower file shows under the others",
			Lower: Tree{"a": File("data"), "d/b": Link("a"), "unseen-c": Link("a")}, Not: noIndex,
			Run: func(_ *testing.T, e *Env) {
				ino := e.ino("a")
				e.want("d/b", "data")
				e.add("a", "+")
				e.want("d/b", "data+")
				e.put("d/b", "x")
				e.want("a", "x")
				e.want("unseen-c", "x")
				for _, n := range []string{"a", "d/b", "unseen-c"} {
					e.equal(e.ino(n), ino, "inode number of "+n)
					e.equal(e.lstat(n).Nlink, uint64(3), "link count of "+n)
				}
			},
		},
		{
			Name:  "chmod and times through one name of a lower file show under the others",
			Lower: Tree{"a": File("data"), "b": Link("a")}, Not: noIndex,
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("b", unix.O_RDONLY)
				e.ok(unix.Chmod(e.p("a"), 0o600))
				e.wantMode("b", 0o600)
				e.equal(e.fstat(fd).Mode&0o7777, uint32(0o600), "mode of the open one")
				e.link("a", "c")
				e.equal(e.lstat("b").Nlink, uint64(3), "link count")
				e.unlink("a")
				e.equal(e.lstat("b").Nlink, uint64(2), "link count")
				e.want("b", "data")
				e.want("c", "data")
			},
		},
		{
			Name: "lower hard links stay linked after a remount", Needs: NeedOwn,
			Lower: Tree{"a": File("data"), "b": Link("a"), "unseen-c": Link("a")}, Not: noIndex,
			Run: func(_ *testing.T, e *Env) {
				e.add("a", "+")
				e.want("b", "data+")
				ino := e.ino("a")
				e.Remount(nil)
				e.want("a", "data+")
				e.want("b", "data+")
				e.want("unseen-c", "data+")
				e.add("b", "!")
				e.want("a", "data+!")
				e.equal(e.ino("a"), ino, "inode number")
				e.equal(e.ino("b"), ino, "inode number")
				e.equal(e.lstat("a").Nlink, uint64(3), "link count")
			},
		},
		{
			Name:  "rename of one name of a lower file keeps the others linked",
			Lower: Tree{"a": File("data"), "b": Link("a"), "f": File("")}, Not: noIndex,
			Run: func(_ *testing.T, e *Env) {
				ino := e.ino("a")
				e.rename("a", "z")
				e.add("z", "+")
				e.want("b", "data+")
				e.equal(e.ino("b"), ino, "inode number")
				e.rename("f", "b")
				e.equal(e.lstat("z").Nlink, uint64(1), "link count")
			},
		},
		{
			Name:  "a hundred links count right, up and down",
			Lower: Tree{"f": File("data")},
			Run: func(_ *testing.T, e *Env) {
				for i := range 100 {
					e.link("f", num(i))
					e.equal(e.lstat("f").Nlink, uint64(i+2), "link count")
				}
				for i := range 100 {
					e.unlink(num(i))
					e.equal(e.lstat("f").Nlink, uint64(100-i), "link count")
				}
				e.want("f", "data")
				e.wantUpper("f f")
			},
		},
		{
			Name:  "an unlinked file can't be linked again",
			Lower: Tree{"f": File("data")},
			Run: func(_ *testing.T, e *Env) {
				e.put("up", "x")
				for _, n := range []string{"f", "up"} {
					fd := e.open(n, unix.O_RDWR)
					e.unlink(n)
					err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, e.p("again"), unix.AT_SYMLINK_FOLLOW)
					e.fails(err, unix.ENOENT)
				}
				e.gone("again")
			},
		},
		{
			Name:  "symlinks are made, read, measured and refused over others",
			Lower: Tree{"f": File(""), "gone": File("")},
			Run: func(_ *testing.T, e *Env) {
				long := strings.Repeat("x", 4095)
				for name, target := range map[string]string{"s": "f", "abs": "/etc/passwd", "long": long, "gone": "odd \n\xff", "dangling": "nowhere/x"} {
					if name == "gone" {
						e.unlink(name)
					}
					e.ok(unix.Symlink(target, e.p(name)))
					got, err := os.Readlink(e.p(name))
					e.ok(err)
					e.equal(got, target, "target of "+name)
					st := e.lstat(name)
					e.equal(st.Size, int64(len(target)), "size of "+name)
					e.equal(st.Mode, uint32(unix.S_IFLNK|0o777), "mode of "+name)
				}
				e.fails(unix.Symlink("x", e.p("f")), unix.EEXIST)
				e.fails(unix.Symlink(long+"x", e.p("longer")), unix.ENAMETOOLONG)
				e.fails(unix.Symlink("", e.p("empty")), unix.ENOENT)
				e.ok(unix.Symlink("loop", e.p("loop")))
				_, err := e.tryOpen("loop", unix.O_RDONLY)
				e.fails(err, unix.ELOOP)
			},
		},
		{
			Name: "the owner and the times of a lower symlink change, not those of its target", Needs: NeedUsers,
			Lower: Tree{"l": Sym("f"), "f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Lchown(e.p("l"), alice, bob))
				ts := []unix.Timespec{{Sec: 100, Nsec: 7}, {Sec: 200, Nsec: 9}}
				e.ok(unix.UtimesNanoAt(unix.AT_FDCWD, e.p("l"), ts, unix.AT_SYMLINK_NOFOLLOW))
				e.wantOwner("l", alice, bob)
				e.equal(e.mtime("l"), int64(200_000_000_009), "mtime of the link")
				e.wantOwner("f", 0, 0)
				e.equal(e.mtime("f"), int64(defaultMtime), "mtime of the target")
				e.wantUpper("l l")
			},
		},
	}
}
