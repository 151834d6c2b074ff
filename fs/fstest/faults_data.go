package fstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// faultsDataCases: faults seen in other union filesystems, those of files and
// their data.
func faultsDataCases() []Case {
	page := strings.Repeat("l", 8192)
	return []Case{
		{
			Name:    "an open-unlinked file doesn't have link count 1",
			Lower:   Tree{"f": File("x"), "g": File("y")},
			Differs: map[string]string{Overlay: "a lower file keeps its link count"},
			Run: func(_ *testing.T, e *Env) {
				e.add("g", "+")
				e.put("h", "z")
				for _, n := range []string{"f", "g", "h"} {
					fd := e.open(n, unix.O_RDONLY)
					e.unlink(n)
					if n != "f" || !e.Differs() {
						e.equal(e.fstat(fd).Nlink, uint64(0), "link count of "+n)
					}
				}
			},
		},
		{
			Name:  "link counts of directories are right after a rename",
			Lower: Tree{"keep": File("")},
			Run: func(_ *testing.T, e *Env) {
				for _, d := range []string{"a", "b", "a/s", "a/s/t"} {
					e.mkdir(d)
				}
				count := func(want ...uint64) {
					e.T.Helper()
					for i, d := range []string{"a", "b"} {
						e.dirLinks(d, want[i])
					}
				}
				count(3, 2)
				e.rename("a/s", "b/s")
				count(2, 3)
				e.dirLinks("b/s", 3)
				e.mkdir("a/e")
				e.ok(e.rename2("a/e", "b/s", unix.RENAME_EXCHANGE))
				count(3, 3)
				e.rmdir("b/s")
				e.rename("a/e", "b/s")
				count(2, 3)
				e.rmdir("b/s/t")
				e.mkdir("a/x")
				e.rename("a/x", "b/s") // replaces
				count(2, 3)
			},
		},
		{
			Name: "setgid inheritance is not lost in lower, copied-up and new directories", Needs: NeedUsers,
			Lower: Tree{"low": Dir().Perm(0o2777).Own(0, bob), "up": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Chown(e.p("up"), 0, bob))
				e.ok(unix.Chmod(e.p("up"), 0o2777))
				e.ok(unix.Mkdir(e.p("new"), 0o777))
				e.ok(unix.Chown(e.p("new"), 0, bob))
				e.ok(unix.Chmod(e.p("new"), 0o2777))
				e.as(alice, alice, func() {
					for _, d := range []string{"low", "up", "new"} {
						e.put(d+"/f", "")
						e.mkdir(d + "/d")
						e.wantOwner(d+"/f", alice, bob)
						e.wantOwner(d+"/d", alice, bob)
						e.wantMode(d+"/d", 0o2755)
					}
				})
			},
		},
		{
			Name: "suid is cleared by another user's write, truncate and fallocate, also through an old descriptor", Needs: NeedUsers,
			Lower: Tree{"w": File("x").Perm(0o4777), "t": File("x").Perm(0o4777), "f": File("x").Perm(0o4777)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					w, t, f := e.open("w", unix.O_RDWR), e.open("t", unix.O_RDWR), e.open("f", unix.O_RDWR)
					for _, n := range []string{"w", "t", "f"} {
						e.wantMode(n, 0o4777)
					}
					e.pwrite(w, "y", 0)
					e.ok(unix.Ftruncate(t, 0))
					e.ok(unix.Fallocate(f, 0, 0, 10))
				})
				for _, n := range []string{"w", "t", "f"} {
					e.wantMode(n, 0o777)
					e.ok(unix.Chmod(e.p(n), 0o4777))
				}
				e.as(alice, alice, func() { // again, now in the upper
					e.add("w", "y")
					e.ok(unix.Truncate(e.p("t"), 5))
					e.ok(unix.Fallocate(e.open("f", unix.O_RDWR), 0, 0, 20))
				})
				for _, n := range []string{"w", "t", "f"} {
					e.wantMode(n, 0o777)
				}
			},
		},
		{
			Name:  "a write through a mapping doesn't leave the mtime, in the upper either",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m, err := unix.Mmap(fd, 0, 8192, rw, unix.MAP_SHARED)
				e.ok(err)
				m[5000] = 'X'
				e.ok(unix.Munmap(m))
				e.close(fd)
				e.is(e.mtime("f") > defaultMtime+1e9, "mtime stayed at that of the lower file")
				if e.Union {
					var st unix.Stat_t
					e.ok(unix.Lstat(e.Upper("f"), &st))
					e.is(st.Mtim.Nano() > defaultMtime+1e9, "mtime in the upper stayed at that of the lower file")
				}
			},
		},
		{
			Name:  "no stale data between direct and buffered reads, in both orders and beyond the end",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				d, err := e.tryOpen("f", unix.O_RDWR|unix.O_DIRECT)
				if err == unix.EINVAL {
					e.T.Skip("the filesystem below has no O_DIRECT")
				}
				e.ok(err)
				b := e.open("f", unix.O_RDWR)
				e.equal(e.pread(b, 2, 0), "ll", "the page cache is warm")
				block := aligned(4096)
				for i := range 10 {
					copy(block, "direct"+num(i))
					_, err := unix.Pwrite(d, block, 4096*int64(i%4))
					e.ok(err)
					e.equal(e.pread(b, 11, 4096*int64(i%4)), "direct"+num(i), "buffered after direct")
					e.pwrite(b, "buffered"+num(i), 4096*int64(i%4))
					_, err = unix.Pread(d, block, 4096*int64(i%4))
					e.ok(err)
					e.equal(string(block[:13]), "buffered"+num(i), "direct after buffered")
				}
				e.equal(e.fstat(b).Size, int64(4*4096), "size")
			},
		},
		{
			Name: "the inode number is not changed by copy-up, link and rename", Not: noOrigin,
			Lower: Tree{"f": File("x"), "g": File("y")},
			Run: func(_ *testing.T, e *Env) {
				f, g := e.ino("f"), e.ino("g")
				e.link("f", "f2")
				e.rename("f2", "f3")
				e.rename("g", "g2")
				e.add("g2", "+")
				e.equal(e.ino("f"), f, "after link")
				e.equal(e.ino("f3"), f, "after link and rename")
				e.equal(e.ino("g2"), g, "after rename and copy-up")
			},
		},
		{
			Name:  "an xattr call on a symlink doesn't follow it, to the host or into the mount itself",
			Lower: Tree{"in": Sym("f"), "f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				host := filepath.Join(filepath.Dir(e.Mount.Dir), "host-"+e.Name)
				e.ok(os.WriteFile(host, []byte("host"), 0o666))
				e.ok(unix.Setxattr(host, "user.host", []byte("1"), 0))
				e.ok(unix.Symlink(host, e.p("out")))
				e.ok(unix.Symlink(e.p("f"), e.p("self")))
				for _, l := range []string{"out", "self", "in"} {
					for _, k := range []string{"user.k", "trusted.k", "user.host", "security.k"} {
						unix.Lsetxattr(e.p(l), k, []byte("v"), 0)
						unix.Lgetxattr(e.p(l), k, make([]byte, 10))
						unix.Lremovexattr(e.p(l), k)
					}
					for _, k := range e.listx(l) {
						e.is(!strings.HasPrefix(k, "user."), "%s lists %s", l, k)
					}
					unix.Lchown(e.p(l), os.Getuid(), os.Getgid())
					e.ok(e.utimes(l, unix.Timespec{Sec: 1}, unix.Timespec{Sec: 1}))
				}
				x, err := xattrsOf(host)
				e.ok(err)
				e.equal(fmt.Sprint(x), "map[user.host:1]", "xattrs of the host's file")
				e.equal(fmt.Sprint(e.listx("f")), "[]", "xattrs of the file in the mount")
				var st unix.Stat_t
				e.ok(unix.Lstat(host, &st))
				e.is(st.Mtim.Sec != 1, "the host's file was touched")
				e.equal(e.mtime("f"), int64(defaultMtime), "mtime of the file in the mount")
			},
		},
		{
			Name:  "a read-only open of a lower file doesn't become a way to write the layer",
			Lower: Tree{"f": File(page), "g": File(page)},
			Run: func(_ *testing.T, e *Env) {
				r := e.open("f", unix.O_RDONLY)
				e.equal(e.pread(r, 2, 0), "ll", "content")
				w := e.open("f", unix.O_RDWR)
				e.pwrite(w, "EVIL", 0)
				m := e.mapped(w, 8192, rw)
				copy(m[100:], "MMAP")
				again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_RDWR|unix.O_CLOEXEC, 0)
				e.ok(err)
				e.pwrite(again, "REOPENED", 4096)
				unix.Close(again)
				e.ok(unix.Fsync(w))
				if e.Union {
					for _, l := range e.Mount.Lowers {
						if b, err := os.ReadFile(filepath.Join(l, e.Name, "f")); err == nil {
							e.equal(string(b), page, "the lower file")
						}
					}
				}
			},
		},
		{
			Name: "a copy-up that is killed leaves the old file or the whole new one, and no litter", Needs: NeedOwn,
			Lower: Tree{"big": File(pattern(12 << 20)), "d/small": File("small")},
			Not:   map[string]string{Overlay: "there is no server to kill"},
			Run: func(_ *testing.T, e *Env) {
				for i := range 6 {
					done := make(chan struct{})
					go func() {
						defer close(done)
						unix.Chmod(e.p("big"), 0o600+uint32(i))
						os.WriteFile(e.p("d/new"), []byte("new"), 0o644)
						os.RemoveAll(e.p("d"))
					}()
					time.Sleep(time.Duration(i*i) * time.Millisecond)
					e.kill()
					<-done
					if b, err := os.ReadFile(e.Upper("big")); err == nil && e.Variant.Name != "metacopy" {
						e.equal(len(b), 12<<20, "length of the upper file")
						e.is(string(b) == pattern(12<<20), "the upper file is torn")
					}
					os.RemoveAll(filepath.Join(e.Mount.Work, "work", "incompat"))
					e.ok(e.Mount.Up())
					e.want("big", pattern(12<<20))
					entries, err := os.ReadDir(filepath.Join(e.Mount.Work, "work"))
					e.ok(err)
					e.is(len(entries) < 3, "left in the work directory after kill and mount: %v", entries)
					if i%2 == 1 {
						e.Remount(func() {
							e.ok(os.RemoveAll(filepath.Join(e.Mount.Upper, e.Name)))
						})
					}
				}
			},
		},
	}
}

// kill kills the server and detaches what is left of the mount.
func (e *Env) kill() {
	e.T.Helper()
	e.closeAll()
	for _, pid := range e.Mount.server.pids() {
		unix.Kill(pid, unix.SIGKILL)
	}
	if s := e.Mount.server; s.cmd != nil {
		<-s.done
		s.log.Close()
	}
	if e.Variant.Who == User {
		e.ok(exec.Command("fusermount3", "-u", "-z", e.Mount.Dir).Run())
	} else {
		e.ok(unix.Unmount(e.Mount.Dir, unix.MNT_DETACH))
	}
	e.Mount.up = false
}
