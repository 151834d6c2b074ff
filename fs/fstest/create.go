package fstest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// createCases: open(2) with O_CREAT, and what open refuses.
func createCases() []Case {
	return []Case{
		{
			Name:  "a file made in a lower directory puts that directory and the file in the upper",
			Lower: Tree{"d/e/old": File("old")},
			Run: func(_ *testing.T, e *Env) {
				e.put("d/e/new", "new")
				e.want("d/e/new", "new")
				e.wantNames("d/e", "new", "old")
				e.wantUpper("d d", "d d/e", "f d/e/new")
			},
		},
		{
			Name:  "O_EXCL refuses a lower file, a lower directory and a dangling symlink",
			Lower: Tree{"f": File("x"), "d": Dir(), "l": Sym("nowhere")},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "d", "l"} {
					_, err := e.tryOpen(n, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
					e.fails(err, unix.EEXIST)
				}
				e.gone("nowhere")
				e.wantUpper()
			},
		},
		{
			Name:  "O_CREAT without O_EXCL opens the lower file as it is",
			Lower: Tree{"f": File("keep").Perm(0o640)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_CREAT|unix.O_RDWR, 0o777)
				e.equal(e.pread(fd, 10, 0), "keep", "content")
				e.wantMode("f", 0o640)
			},
		},
		{
			Name:  "O_CREAT goes through a symlink to a file not yet there",
			Lower: Tree{"l": Sym("d/new"), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.put("l", "x")
				e.want("d/new", "x")
			},
		},
		{
			Name:  "a file can be made where one was whited out by a layer or by us",
			Lower: Tree{"f": File("low"), "g": File("low")}, Over: []Tree{{"f": White()}},
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "new f")
				e.unlink("g")
				e.put("g", "new g")
				e.want("f", "new f")
				e.want("g", "new g")
				e.wantUpper("f f", "f g")
			},
		},
		{
			Name: "the caller's umask applies, and only that",
			Run: func(_ *testing.T, e *Env) {
				for _, c := range []struct{ umask, mode, want uint32 }{
					{0, 0o666, 0o666}, {0o022, 0o666, 0o644}, {0o077, 0o777, 0o700}, {0o027, 0o4755, 0o4750}, {0o777, 0o777, 0},
				} {
					n := fmt.Sprintf("%o-%o", c.umask, c.mode)
					e.alone(func() {
						unix.Umask(int(c.umask))
						fd := e.open("f"+n, unix.O_CREAT|unix.O_WRONLY, c.mode)
						e.equal(e.fstat(fd).Mode&0o7777, c.want, "mode of f"+n)
						e.ok(unix.Mkdir(e.p("d"+n), c.mode))
						e.ok(unix.Mknod(e.p("p"+n), unix.S_IFIFO|c.mode, 0))
					})
					e.wantMode("d"+n, c.want&^0o4000|c.want&0o1000)
					e.wantMode("p"+n, c.want)
				}
			},
		},
		{
			Name: "a file made with mode 0444 or 0 can be written through its descriptor",
			Run: func(_ *testing.T, e *Env) {
				for _, m := range []uint32{0o444, 0o400, 0} {
					n := fmt.Sprint(m)
					fd := e.open(n, unix.O_CREAT|unix.O_RDWR|unix.O_EXCL, m)
					e.pwrite(fd, "data", 0)
					e.equal(e.pread(fd, 4, 0), "data", "content")
					e.ok(unix.Fsync(fd))
					e.close(fd)
					e.wantMode(n, m)
					e.equal(e.lstat(n).Size, int64(4), "size")
				}
			},
		},
		{
			Name: "a new file belongs to who makes it", Needs: NeedUsers,
			Lower: Tree{"pub": Dir().Perm(0o777)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, bob, func() {
					e.put("pub/f", "x")
					e.mkdir("pub/d")
					e.ok(unix.Symlink("x", e.p("pub/l")))
					e.ok(unix.Mknod(e.p("pub/p"), unix.S_IFIFO|0o600, 0))
				})
				for _, n := range []string{"f", "d", "l", "p"} {
					e.wantOwner("pub/"+n, alice, bob)
				}
			},
		},
		{
			Name: "permissions of directories and files hold for other users", Needs: NeedUsers,
			Lower: Tree{
				"closed": Dir().Perm(0o700), "closed/f": File("x"), "ro/f": File("x"), "drop": Dir().Perm(0o733),
				"secret": File("x").Perm(0o600), "mine": File("x").Perm(0o600).Own(alice, alice),
			},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					_, err := e.tryOpen("closed/f", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
					_, err = e.tryOpen("ro/new", unix.O_CREAT|unix.O_WRONLY)
					e.fails(err, unix.EACCES)
					_, err = e.tryOpen("ro/f", unix.O_WRONLY)
					e.fails(err, unix.EACCES)
					_, err = e.tryOpen("secret", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
					_, err = e.tryOpen("drop", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
					e.put("drop/f", "x")
					e.put("mine", "y")
					e.fails(unix.Unlink(e.p("ro/f")), unix.EACCES)
					e.fails(unix.Rename(e.p("ro/f"), e.p("drop/g")), unix.EACCES)
					e.fails(unix.Mkdir(e.p("ro/d"), 0o755), unix.EACCES)
					e.fails(unix.Chmod(e.p("secret"), 0o777), unix.EPERM)
				})
				e.want("mine", "y")
				e.wantKind("ro", "-")
				e.wantKind("secret", "-")
			},
		},
		{
			Name: "open refuses what the kind of object doesn't allow", RO: true,
			Lower: Tree{"f": File(""), "d": Dir(), "l": Sym("f")},
			Run: func(_ *testing.T, e *Env) {
				_, err := e.tryOpen("f", unix.O_RDONLY|unix.O_DIRECTORY)
				e.fails(err, unix.ENOTDIR)
				_, err = e.tryOpen("d", unix.O_WRONLY)
				e.fails(err, unix.EISDIR)
				_, err = e.tryOpen("l", unix.O_RDONLY|unix.O_NOFOLLOW)
				e.fails(err, unix.ELOOP)
				_, err = e.tryOpen("nope", unix.O_RDONLY)
				e.fails(err, unix.ENOENT)
				_, err = e.tryOpen("d", unix.O_CREAT|unix.O_RDONLY)
				e.fails(err, unix.EISDIR, unix.EROFS)
			},
		},
		{
			Name:    "making anything in a removed directory is ENOENT",
			Lower:   Tree{"low": Dir()},
			Differs: map[string]string{Overlay: "a removed lower directory keeps the lower's link count there"},
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("up")
				for _, d := range []string{"low", "up"} {
					fd := e.opendir(d)
					e.rmdir(d)
					_, err := unix.Openat(fd, "x", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
					e.fails(err, unix.ENOENT)
					e.fails(unix.Mkdirat(fd, "x", 0o755), unix.ENOENT)
					e.fails(unix.Symlinkat("x", fd, "l"), unix.ENOENT)
					if !e.Differs() {
						e.equal(e.fstat(fd).Nlink, uint64(0), "link count of removed "+d)
					}
				}
			},
		},
		{
			Name:  "O_TMPFILE gives a file without a name that link(2) can name",
			Lower: Tree{"d/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("d", unix.O_TMPFILE|unix.O_RDWR, 0o640)
				e.pwrite(fd, "unnamed", 0)
				e.wantNames("d", "x")
				st := e.fstat(fd)
				e.equal(st.Nlink, uint64(0), "link count")
				e.equal(st.Mode&0o7777, uint32(0o640), "mode")
				e.ok(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, e.p("d/named"), unix.AT_SYMLINK_FOLLOW))
				e.want("d/named", "unnamed")
				e.equal(e.ino("d/named"), st.Ino, "inode number")
				e.equal(e.lstat("d/named").Nlink, uint64(1), "link count")
			},
		},
		{
			Name:  "O_TMPFILE with O_EXCL can't be named later",
			Lower: Tree{"d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("d", unix.O_TMPFILE|unix.O_EXCL|unix.O_RDWR, 0o640)
				err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, e.p("d/named"), unix.AT_SYMLINK_FOLLOW)
				e.fails(err, unix.ENOENT)
				e.wantNames("d")
			},
		},
		{
			Name: "O_PATH opens the object itself, and its descriptor opens it again", RO: true,
			Lower: Tree{"f": File("data"), "l": Sym("f")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_PATH)
				again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				e.ok(err)
				defer unix.Close(again)
				e.equal(e.pread(again, 10, 0), "data", "content")
				l := e.open("l", unix.O_PATH|unix.O_NOFOLLOW)
				buf := make([]byte, 10)
				n, err := unix.Readlinkat(l, "", buf)
				e.ok(err)
				e.equal(string(buf[:n]), "f", "target")
			},
		},
		{
			Name: "three hundred files are made, listed, read and removed",
			Run: func(_ *testing.T, e *Env) {
				e.mkdir("d")
				for i := range 300 {
					e.put("d/"+num(i), strings.Repeat("x", i%7))
				}
				e.equal(len(e.names("d")), 300, "number of names")
				for i := range 300 {
					e.equal(len(e.get("d/"+num(i))), i%7, "length")
				}
				e.ok(os.RemoveAll(e.p("d")))
				e.wantUpper()
			},
		},
	}
}
