package fstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// renameCases: rename of what is not a directory.
func renameCases() []Case {
	return []Case{
		{
			Name:  "a lower file moves and leaves a whiteout",
			Lower: Tree{"f": File("data").Perm(0o640), "d/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				ino := e.ino("f")
				e.rename("f", "d/g")
				e.gone("f")
				e.want("d/g", "data")
				e.wantMode("d/g", 0o640)
				e.equal(e.ino("d/g"), ino, "inode number")
				e.equal(e.mtime("d/g"), int64(defaultMtime), "mtime")
				e.wantUpper("w f", "d d", "f d/g")
			},
		},
		{
			Name:  "a lower file replaces a lower file",
			Lower: Tree{"a": File("A"), "b": File("B")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("b", unix.O_RDONLY)
				e.rename("a", "b")
				e.gone("a")
				e.want("b", "A")
				e.wantNames(".", "b")
				e.equal(e.pread(fd, 9, 0), "B", "what was open keeps its content")
				e.wantUpper("w a", "f b")
			},
		},
		{
			Name:  "a new file replaces a lower file with no data copied",
			Lower: Tree{"b": File("B")},
			Run: func(_ *testing.T, e *Env) {
				e.put("a", "A")
				e.rename("a", "b")
				e.want("b", "A")
				e.wantNames(".", "b")
				e.wantUpper("f b")
				e.unlink("b")
				e.gone("b")
				e.wantUpper("w b")
			},
		},
		{
			Name:  "a lower file replaces a new file",
			Lower: Tree{"a": File("A")},
			Run: func(_ *testing.T, e *Env) {
				e.put("b", "B")
				e.rename("a", "b")
				e.want("b", "A")
				e.gone("a")
				e.wantUpper("w a", "f b")
			},
		},
		{
			Name:  "a new file moves and leaves no whiteout",
			Lower: Tree{"d/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.put("a", "A")
				e.rename("a", "b")
				e.rename("b", "d/c")
				e.want("d/c", "A")
				e.gone("a", "b")
				e.wantUpper("d d", "f d/c")
			},
		},
		{
			Name:  "a file moves onto a whiteout and back",
			Lower: Tree{"a": File("A"), "b": File("B")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("b")
				e.rename("a", "b")
				e.want("b", "A")
				e.gone("a")
				e.rename("b", "a")
				e.want("a", "A")
				e.gone("b")
				e.wantNames(".", "a")
				e.wantUpper("f a", "w b")
			},
		},
		{
			Name:  "files change places through a third name",
			Lower: Tree{"a": File("A"), "b": File("B")},
			Run: func(_ *testing.T, e *Env) {
				e.rename("a", "t")
				e.rename("b", "a")
				e.rename("t", "b")
				e.want("a", "B")
				e.want("b", "A")
				e.wantNames(".", "a", "b")
				e.wantUpper("f a", "f b")
			},
		},
		{
			Name:  "symlinks and fifos of a lower move",
			Lower: Tree{"l": Sym("target"), "p": Fifo().Perm(0o620)},
			Run: func(_ *testing.T, e *Env) {
				e.rename("l", "l2")
				e.rename("p", "p2")
				buf := make([]byte, 20)
				n, err := unix.Readlink(e.p("l2"), buf)
				e.ok(err)
				e.equal(string(buf[:n]), "target", "target")
				e.equal(e.lstat("p2").Mode, uint32(unix.S_IFIFO|0o620), "mode")
				e.wantNames(".", "l2", "p2")
				e.wantUpper("w l", "w p", "l l2", "p p2")
			},
		},
		{
			Name:  "to its own name nothing happens",
			Lower: Tree{"f": File("x"), "a": File("y"), "b": Link("a")},
			Run: func(_ *testing.T, e *Env) {
				e.rename("f", "f")
				e.want("f", "x")
				e.rename("a", "b") // the same inode: nothing
				e.want("a", "y")
				e.want("b", "y")
			},
			Not: map[string]string{Overlay: "without its index overlayfs breaks lower hard links, so it renames"},
		},
		{
			Name:  "kinds that don't fit are refused",
			Lower: Tree{"f": File(""), "d": Dir(), "l": Sym("d")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Rename(e.p("f"), e.p("d")), unix.EISDIR)
				e.fails(unix.Rename(e.p("d"), e.p("f")), unix.ENOTDIR, unix.EXDEV)
				e.fails(unix.Rename(e.p("nope"), e.p("f")), unix.ENOENT)
				e.fails(unix.Rename(e.p("f"), e.p("nope/f")), unix.ENOENT)
				e.fails(unix.Rename(e.p("f"), e.p("f/x")), unix.ENOTDIR)
				e.rename("f", "l") // the link is replaced, not followed
				e.equal(e.lstat("l").Mode&unix.S_IFMT, uint32(unix.S_IFREG), "kind")
				e.wantNames(".", "d", "l")
			},
		},
		{
			Name:  "RENAME_NOREPLACE refuses a lower file and a new one",
			Lower: Tree{"a": File("A"), "b": File("B"), "w": File("W")},
			Run: func(_ *testing.T, e *Env) {
				e.put("n", "N")
				e.unlink("w")
				e.fails(e.rename2("a", "b", unix.RENAME_NOREPLACE), unix.EEXIST)
				e.fails(e.rename2("a", "n", unix.RENAME_NOREPLACE), unix.EEXIST)
				e.fails(e.rename2("a", "a", unix.RENAME_NOREPLACE), unix.EEXIST)
				e.wantUpper("f n", "w w")
				e.ok(e.rename2("a", "c", unix.RENAME_NOREPLACE))
				e.ok(e.rename2("b", "w", unix.RENAME_NOREPLACE))
				e.want("c", "A")
				e.want("w", "B")
				e.wantNames(".", "c", "n", "w")
			},
		},
		{
			Name:  "RENAME_EXCHANGE changes lower and new files round",
			Lower: Tree{"a": File("A"), "b": File("B"), "d/c": File("C")},
			Run: func(_ *testing.T, e *Env) {
				ia, ib := e.ino("a"), e.ino("b")
				e.ok(e.rename2("a", "b", unix.RENAME_EXCHANGE))
				e.want("a", "B")
				e.want("b", "A")
				e.equal(e.ino("a"), ib, "inode number of a")
				e.equal(e.ino("b"), ia, "inode number of b")
				e.put("n", "N")
				e.ok(e.rename2("n", "d/c", unix.RENAME_EXCHANGE))
				e.want("n", "C")
				e.want("d/c", "N")
				e.wantNames(".", "a", "b", "d", "n")
				e.fails(e.rename2("a", "nope", unix.RENAME_EXCHANGE), unix.ENOENT)
				e.fails(e.rename2("nope", "a", unix.RENAME_EXCHANGE), unix.ENOENT)
				e.unlink("n")
				e.gone("n")
			},
		},
		{
			Name:  "RENAME_EXCHANGE of a file and a new directory",
			Lower: Tree{"f": File("F")},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("d")
				e.put("d/x", "X")
				e.ok(e.rename2("f", "d", unix.RENAME_EXCHANGE))
				e.want("d", "F")
				e.want("f/x", "X")
				e.unlink("f/x")
				e.rmdir("f")
				e.gone("f")
				e.unlink("d")
				e.wantNames(".")
				e.wantUpper("w f")
			},
		},
		{
			Name: "RENAME_WHITEOUT and unknown flags are refused", Needs: NeedUnion,
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(e.rename2("f", "g", unix.RENAME_WHITEOUT), unix.EINVAL, unix.EPERM)
				e.fails(e.rename2("f", "g", 1<<10), unix.EINVAL)
				e.fails(e.rename2("f", "g", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), unix.EINVAL)
				e.wantNames(".", "f")
				e.wantUpper()
			},
		},
		{
			Name:  "an open file goes on under its new name",
			Lower: Tree{"f": File("old")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.rename("f", "g")
				e.pwrite(fd, "new", 0)
				e.want("g", "new")
				e.gone("f")
				e.put("f", "other")
				e.pwrite(fd, "NEW", 0)
				e.want("g", "NEW")
				e.want("f", "other")
			},
		},
		{
			Name:  "a file written, renamed over a lower one and synced is complete, as editors do",
			Lower: Tree{"conf": File("old").Perm(0o600)},
			Run: func(_ *testing.T, e *Env) {
				for i := range 20 {
					fd := e.open("conf.tmp", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
					e.pwrite(fd, "content "+num(i), 0)
					e.ok(unix.Fsync(fd))
					e.close(fd)
					e.rename("conf.tmp", "conf")
					d := e.opendir(".")
					e.ok(unix.Fsync(d))
					e.want("conf", "content "+num(i))
				}
				e.wantNames(".", "conf")
				e.wantUpper("f conf")
			},
		},
		{
			Name:  "the replaced file's other names and descriptors keep it",
			Lower: Tree{"a": File("A")},
			Run: func(_ *testing.T, e *Env) {
				e.put("b", "B")
				e.link("b", "b2")
				fd := e.open("b", unix.O_RDWR)
				e.rename("a", "b")
				e.want("b2", "B")
				e.equal(e.lstat("b2").Nlink, uint64(1), "link count")
				e.pwrite(fd, "X", 0)
				e.want("b2", "X")
				e.want("b", "A")
			},
		},
	}
}
