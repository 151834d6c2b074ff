package fstest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// unlinkedCases: files that are open and have no name any more.
func unlinkedCases() []Case {
	kinds := func(e *Env) []string {
		e.put("up", "data")
		e.add("copied", "")
		e.ok(unix.Chmod(e.p("copied"), 0o600))
		e.ok(unix.Chmod(e.p("copied"), 0o644))
		return []string{"low", "up", "copied"}
	}
	lower := Tree{"low": File("data"), "copied": File("data"), "keep": File("")}
	return []Case{
		{
			Name: "fstat of an unlinked file shows link count 0 and everything else", Lower: lower,
			Differs: map[string]string{Overlay: "a lower file keeps its link count"},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd := e.open(n, unix.O_RDONLY)
					before := e.fstat(fd)
					e.unlink(n)
					st := e.fstat(fd)
					if !e.Differs() || n == "up" {
						e.equal(st.Nlink, uint64(0), "link count of "+n)
					}
					e.equal(st.Ino, before.Ino, "inode number of "+n)
					e.equal(st.Size, int64(4), "size of "+n)
					e.equal(st.Mode, before.Mode, "mode of "+n)
					e.equal(st.Mtim, before.Mtim, "mtime of "+n)
				}
			},
		},
		{
			Name: "an unlinked file is read and written on", Lower: lower,
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd, r := e.open(n, unix.O_RDWR), e.open(n, unix.O_RDONLY)
					e.unlink(n)
					e.equal(e.pread(fd, 9, 0), "data", "content of "+n)
					e.pwrite(fd, "more", 4)
					e.equal(e.pread(fd, 9, 0), "datamore", "content of "+n)
					e.equal(e.pread(r, 9, 0), "datamore", "content of "+n+" elsewhere")
					e.ok(unix.Fsync(fd))
					e.ok(unix.Ftruncate(fd, 2))
					e.equal(e.pread(r, 9, 0), "da", "truncated "+n)
					e.equal(e.fstat(r).Size, int64(2), "size of "+n)
					e.gone(n)
				}
				e.wantNames(".", "keep")
				e.wantUpper("w low", "w copied")
			},
		},
		{
			Name: "an unlinked file's mode, times and xattrs change", Lower: lower, Needs: NeedUsers,
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd := e.open(n, unix.O_RDWR)
					e.unlink(n)
					e.ok(unix.Fchmod(fd, 0o600))
					e.ok(unix.Fchown(fd, alice, bob))
					e.ok(unix.Fsetxattr(fd, "user.k", []byte("v"), 0))
					e.ok(unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), []unix.Timespec{{Sec: 1}, {Sec: 2}}, 0))
					st := e.fstat(fd)
					e.equal(st.Mode&0o7777, uint32(0o600), "mode of "+n)
					e.equal(st.Uid, uint32(alice), "owner of "+n)
					e.equal(st.Mtim.Sec, int64(2), "mtime of "+n)
					buf := make([]byte, 9)
					k, err := unix.Fgetxattr(fd, "user.k", buf)
					e.ok(err)
					e.equal(string(buf[:k]), "v", "xattr of "+n)
					e.equal(e.pread(fd, 9, 0), "data", "content of "+n)
				}
				e.wantUpper("w low", "w copied")
			},
		},
		{
			Name: "an unlinked file can be opened again through its descriptor", Lower: lower,
			Differs: map[string]string{Overlay: "EEXIST: an unlinked lower file isn't copied up by an open"},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd := e.open(n, unix.O_RDONLY)
					e.unlink(n)
					again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
					if e.Differs() && n == "low" {
						e.fails(err, unix.EEXIST)
						continue
					}
					e.ok(err)
					e.pwrite(again, "DATA", 0)
					e.equal(e.pread(fd, 9, 0), "DATA", "content of "+n)
					e.ok(unix.Close(again))
				}
			},
		},
		{
			Name: "a new file of the same name is another one", Lower: lower,
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd := e.open(n, unix.O_RDWR)
					e.unlink(n)
					e.put(n, "new one")
					e.is(e.fstat(fd).Ino != e.ino(n), "%s has the inode number of the open old one", n)
					e.pwrite(fd, "OLD", 0)
					e.want(n, "new one")
					e.equal(e.pread(fd, 9, 0), "OLDa", "content of the old "+n)
					e.unlink(n)
					e.equal(e.pread(fd, 9, 0), "OLDa", "content of the old "+n)
				}
			},
		},
		{
			Name: "what a rename replaced is read and written on", Lower: lower,
			Run: func(_ *testing.T, e *Env) {
				for _, n := range kinds(e) {
					fd := e.open(n, unix.O_RDWR)
					e.put("tmp", "replacement")
					e.rename("tmp", n)
					e.equal(e.pread(fd, 9, 0), "data", "content of the old "+n)
					e.pwrite(fd, "OLD", 0)
					e.equal(e.pread(fd, 9, 0), "OLDa", "content of the old "+n)
					e.want(n, "replacement")
				}
				e.wantUpper("f low", "f up", "f copied")
			},
		},
		{
			Name:  "a file in a removed tree is read and written on",
			Lower: Tree{"d/s/f": File("data"), "d/s/g": File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("d/s/f", unix.O_RDWR)
				for _, n := range []string{"d/s/f", "d/s/g"} {
					e.unlink(n)
				}
				e.rmdir("d/s")
				e.rmdir("d")
				e.pwrite(fd, "DA", 0)
				e.equal(e.pread(fd, 9, 0), "DAta", "content")
				e.wantUpper("w d")
			},
		},
		{
			Name:  "two hundred unlinked files open at once keep their own content",
			Lower: Many("d", "f", 100),
			Run: func(_ *testing.T, e *Env) {
				var fds []int
				for i := range 200 {
					n := "d/f" + num(i) // half of them in the lower, empty
					fd := e.open(n, unix.O_CREAT|unix.O_RDWR)
					e.pwrite(fd, num(i), 0)
					e.unlink(n)
					fds = append(fds, fd)
				}
				e.wantNames("d")
				for i, fd := range fds {
					e.equal(e.pread(fd, 9, 0), num(i), "content")
				}
			},
		},
	}
}
