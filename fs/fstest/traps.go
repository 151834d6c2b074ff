package fstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// notLive is why a layer that changes has no index file.
const notLive = "an index file is for layers that don't change"

// serverOnly is why a case on plyfs's own options has no oracle.
var serverOnly = map[string]string{Overlay: "the option is plyfs's own"}

// trapsCases: what this design makes easy to get wrong.
func trapsCases() []Case {
	return []Case{
		{
			Name:  "the SETATTR that follows unlink, rename and link copies nothing up",
			Lower: Tree{"rm": File("x"), "over": File("x"), "h1": File("x"), "known-h2": Link("h1"), "d/deep": File("x"), "open": File("x")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("open", unix.O_RDONLY)
				e.unlink("rm")
				e.unlink("h1")
				e.unlink("d/deep")
				e.unlink("open")
				e.put("new", "n")
				e.rename("new", "over")
				e.close(fd)
				e.want("known-h2", "x")
				e.wantUpper("w rm", "w h1", "d d", "w d/deep", "w open", "f over")
			},
		},
		{
			Name: "a truncation by O_TRUNC is not lost when the inode is evicted", Needs: NeedOwn,
			Lower: Tree{"f": File(pattern(20_000)), "g": File(pattern(20_000))},
			Run: func(_ *testing.T, e *Env) {
				e.close(e.open("f", unix.O_WRONLY|unix.O_TRUNC))
				e.close(e.open("g", unix.O_RDWR|unix.O_TRUNC|unix.O_CREAT))
				e.Remount(nil)
				e.equal(e.lstat("f").Size, int64(0), "size")
				e.equal(e.lstat("g").Size, int64(0), "size")
			},
		},
		{
			Name:  "a write after unlink goes to an orphan and not to the layer's path",
			Lower: Tree{"f": File("lower")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.unlink("f")
				e.pwrite(fd, "ORPHAN", 0)
				e.ok(unix.Fsync(fd))
				e.gone("f")
				if e.Union {
					found := false
					for _, l := range e.Mount.Lowers {
						if b, err := os.ReadFile(filepath.Join(l, e.Name, "f")); err == nil {
							found = true
							e.equal(string(b), "lower", "the layer's file")
						}
					}
					e.is(found, "the layer's file is gone")
				}
				e.close(fd)
				e.gone("f")
				e.wantUpper("w f")
			},
		},
		{
			Name: "a server that may open 256 descriptors serves two thousand files", Needs: NeedOwn, Big: true,
			Lower: Many("d", "f", 600), Not: map[string]string{Overlay: "there is no server", "user": "it went to the background: its limit is that of the tests"},
			Run: func(_ *testing.T, e *Env) {
				e.Remount(func() { e.Mount.files = 256 })
				var open []int
				for i := range 1500 {
					n := "n" + num(i)
					e.put(n, "x")
					e.want(n, "x")
					if i < 600 {
						e.want("d/f"+num(i), "")
						open = append(open, e.open(n, unix.O_RDWR))
					}
				}
				for _, fd := range open {
					e.pwrite(fd, "y", 1)
				}
				for i := range 600 {
					e.want("n"+num(i), "xy")
				}
			},
		},
		{
			Name: "a root-only file is not readable by others, though open asks the server nothing", Needs: NeedUsers, RO: true,
			Lower: Tree{"secret": File("x").Perm(0o600), "d": Dir().Perm(0o700), "d/f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.want("secret", "x") // now its pages are cached
				e.want("d/f", "x")
				e.as(alice, alice, func() {
					for _, n := range []string{"secret", "d/f"} {
						_, err := e.tryOpen(n, unix.O_RDONLY)
						e.fails(err, unix.EACCES)
					}
				})
			},
		},
		{
			Name: "a change that the host makes in a lower shows with live, contents and size", Needs: NeedOwn,
			Lower: Tree{"f": File("old")},
			Not:   map[string]string{Overlay: "the option is plyfs's own", "indexed": notLive, "indexed-sole": notLive},
			Run: func(_ *testing.T, e *Env) {
				e.Remount(nil, "live")
				e.want("f", "old")
				f, err := os.OpenFile(e.lowerOf("f"), os.O_WRONLY|os.O_APPEND, 0)
				e.ok(err)
				_, err = f.WriteString(" and new")
				e.ok(err)
				e.ok(f.Close())
				e.ok(os.WriteFile(e.lowerOf("f")+"2", []byte("second"), 0o644))
				e.eventually(func() bool { return e.lstat("f").Size == int64(len("old and new")) }, "the new size never shows")
				e.eventually(func() bool { return e.get("f") == "old and new" }, "the new content never shows")
				e.eventually(func() bool { _, err := os.Lstat(e.p("f2")); return err == nil }, "the new file never shows")
				e.Remount(func() {})
			},
		},
		{
			Name: "fsync tells what write-back could not store", Needs: NeedOwn,
			Lower: Tree{"f": File("x")}, Not: serverOnly,
			Run: func(_ *testing.T, e *Env) {
				e.Remount(nil, "size_limit=4194304")
				fd := e.open("big", unix.O_CREAT|unix.O_RDWR)
				var err error
				for i := 0; err == nil && i < 64; i++ {
					if _, err = unix.Pwrite(fd, []byte(pattern(1<<20)), int64(i)<<20); err == nil {
						err = unix.Fsync(fd)
					}
				}
				e.fails(err, unix.ENOSPC, unix.EDQUOT)
				var st unix.Statfs_t
				e.ok(unix.Statfs(e.Dir, &st))
				e.is(st.Blocks*uint64(st.Bsize) <= 4<<20, "statfs shows %d bytes", st.Blocks*uint64(st.Bsize))
				e.want("f", "x")
				unix.Unlink(e.p("big"))
			},
		},
		{
			Name: "with writeback=off write(2) tells what could not be stored", Needs: NeedOwn,
			Lower: Tree{"f": File("x")}, Not: serverOnly,
			Run: func(_ *testing.T, e *Env) {
				e.Remount(nil, "writeback=off", "size_limit=4194304")
				fd := e.open("big", unix.O_CREAT|unix.O_RDWR)
				var err error
				for i := 0; err == nil && i < 64; i++ {
					_, err = unix.Pwrite(fd, []byte(pattern(1<<20)), int64(i)<<20)
				}
				e.fails(err, unix.ENOSPC, unix.EDQUOT)
				e.ok(unix.Fsync(fd)) // nothing is held back that could fail
				unix.Unlink(e.p("big"))
			},
		},
		{
			Name: "a directory above rename_limit is EXDEV and stays whole", Needs: NeedOwn,
			Lower: Tree{"d/big": File(pattern(2 << 20)), "d/small": File("s")}, Not: map[string]string{
				Overlay: "the option is plyfs's own", "redirect": "a redirect copies nothing", "metacopy": "a metadata copy is small",
			},
			Run: func(_ *testing.T, e *Env) {
				e.Remount(nil, "rename_limit=1048576")
				e.fails(unix.Rename(e.p("d"), e.p("n")), unix.EXDEV)
				e.wantNames("d", "big", "small")
				e.want("d/big", pattern(2<<20))
				e.gone("n")
				e.unlink("d/big")
				e.rename("d", "n")
				e.wantNames("n", "small")
			},
		},
		{
			Name: "ids that the namespace doesn't map are never shown, and their files can be changed", Needs: NeedOwn,
			Lower: Tree{"x": File("")},
			Not: map[string]string{
				Overlay: "it shows 65534 and refuses changes with EOVERFLOW", "root": "every id is mapped", "user": "every id is mapped",
				"lowers1": "every id is mapped", "lowers64": "every id is mapped", "volatile": "every id is mapped",
				"redirect": "every id is mapped", "metacopy": "every id is mapped", "nowriteback": "every id is mapped",
			},
			Run: func(_ *testing.T, e *Env) {
				const host = "/etc/default" // files of the host's root
				if _, err := os.Stat(host); err != nil {
					e.T.Skip("needs " + host)
				}
				e.Remount(func() { e.Mount.Lowers = append(e.Mount.Lowers, host) })
				entries, err := os.ReadDir(host)
				e.ok(err)
				n := 0
				for _, d := range entries {
					p := filepath.Join(e.Mount.Dir, d.Name())
					var st unix.Stat_t
					e.ok(unix.Lstat(p, &st))
					want := uint32(0)
					if e.Variant.Who == NSRoot {
						want = 65534 // is mapped: an owner like others
					}
					e.is(st.Uid == want && st.Gid == want, "%s belongs to %d:%d", d.Name(), st.Uid, st.Gid)
					if d.Type().IsRegular() && unix.Access(filepath.Join(host, d.Name()), unix.R_OK) == nil {
						e.ok(unix.Chmod(p, 0o600))
						e.ok(unix.Rename(p, p+".moved"))
						e.ok(unix.Unlink(p + ".moved"))
						n++
					}
				}
				e.is(n > 0, "%s held no file", host)
			},
		},
		{
			Name:  "dirty data is where the upper's readers look after syncfs",
			Lower: Tree{"synced-f": File("x")}, Needs: NeedUnion,
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("synced-f", unix.O_RDWR)
				e.pwrite(fd, strings.Repeat("dirty", 1000), 0)
				e.ok(unix.Syncfs(fd))
				// From Linux 6.18 on syncfs starts the writing of a FUSE mount
				// but doesn't wait for it.
				e.eventually(func() bool {
					b, err := os.ReadFile(e.Upper("synced-f"))
					return err == nil && string(b) == strings.Repeat("dirty", 1000)
				}, "the data never got to the upper file")
			},
		},
		{
			Name:  "what is open for writing stays writable when its mode, owner and name change",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.ok(unix.Fchmod(fd, 0))
				e.pwrite(fd, "1", 0)
				e.ok(unix.Fsync(fd))
				e.rename("f", "g")
				e.pwrite(fd, "2", 1)
				e.ok(unix.Fchmod(fd, 0o444))
				e.ok(unix.Fsync(fd))
				e.equal(e.pread(fd, 9, 0), "12", "content")
			},
		},
		{
			Name: "a mount over a volatile one that didn't end well is refused, with a way out", Needs: NeedOwn,
			Lower: Tree{"f": File("x")},
			Not: map[string]string{
				Overlay: "there is no server to kill", "root": "not volatile", "userns": "not volatile", "sole": "not volatile",
				"lowers1": "not volatile", "lowers64": "not volatile", "redirect": "not volatile", "metacopy": "not volatile", "nowriteback": "not volatile", "passthrough": "not volatile", "user": "not volatile",
			},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "+")
				e.kill()
				err := e.Mount.Up()
				if err == nil {
					e.T.Fatal("mounted")
				}
				e.is(strings.Contains(err.Error(), "incompat") || strings.Contains(err.Error(), "volatile"), "the message doesn't name the mark: %v", err)
				e.ok(os.RemoveAll(filepath.Join(e.Mount.Work, "work", "incompat")))
				e.ok(e.Mount.Up())
			},
		},
	}
}

// lowerOf is where a file lies in the lowers.
func (e *Env) lowerOf(name string) string {
	e.T.Helper()
	for _, l := range e.Mount.Lowers {
		p := filepath.Join(l, e.Name, name)
		if _, err := os.Lstat(p); err == nil {
			return p
		}
	}
	e.T.Fatalf("%s lies in no lower", name)
	return ""
}
