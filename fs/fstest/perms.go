package fstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// capNetRaw is a security.capability of version 2: cap_net_raw=ep.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// permsCases: chmod, chown, setgid directories, and which bits a change of
// the data takes away.
func permsCases() []Case {
	return []Case{
		{
			Name:  "chmod of a lower object changes the mode and nothing else",
			Lower: Tree{"f": File("x"), "d/y": File("y"), "p": Fifo()},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "d", "p"} {
					for _, m := range []uint32{0o600, 0o7777, 0o4711, 0o1, 0, 0o644} {
						e.ok(unix.Chmod(e.p(n), m))
						e.wantMode(n, m)
					}
				}
				e.want("f", "x")
				e.wantNames("d", "y") // readable, not searchable
				e.ok(unix.Chmod(e.p("d"), 0o755))
				e.wantUpper("f f", "d d", "p p")
			},
		},
		{
			Name:  "fchmod through a descriptor opened before the copy-up",
			Lower: Tree{"f": File("x"), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				fd, dir := e.open("f", unix.O_RDONLY), e.opendir("d")
				e.ok(unix.Fchmod(fd, 0o600))
				e.ok(unix.Fchmod(dir, 0o700))
				e.wantMode("f", 0o600)
				e.wantMode("d", 0o700)
				e.equal(e.fstat(fd).Mode&0o7777, uint32(0o600), "fstat")
			},
		},
		{
			Name: "chown of lower objects sets the owner, -1 leaves it", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Own(alice, bob), "d": Dir(), "l": Sym("f"), "p": Fifo()},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Lchown(e.p("f"), -1, alice))
				e.wantOwner("f", alice, alice)
				e.ok(unix.Lchown(e.p("f"), 0, -1))
				e.wantOwner("f", 0, alice)
				for _, n := range []string{"d", "l", "p"} {
					e.ok(unix.Lchown(e.p(n), bob, alice))
					e.wantOwner(n, bob, alice)
				}
				e.wantUpper("f f", "d d", "l l", "p p")
			},
		},
		{
			Name: "a copy-up keeps owner and mode", Needs: NeedUsers,
			Lower: Tree{"d": Dir().Own(bob, bob).Perm(0o2770), "d/f": File("x").Own(alice, bob).Perm(0o4711)},
			Run: func(_ *testing.T, e *Env) {
				e.ok(e.utimes("d/f", unix.Timespec{Sec: 1}, unix.Timespec{Sec: 1}))
				e.wantOwner("d/f", alice, bob)
				e.wantMode("d/f", 0o4711)
				e.wantOwner("d", bob, bob)
				e.wantMode("d", 0o2770)
				e.wantUpper("d d", "f d/f")
			},
		},
		{
			Name: "who may chown: only the privileged, but a group that one is in", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Own(alice, alice).Perm(0o6755)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.fails(unix.Chown(e.p("f"), bob, -1), unix.EPERM)
					e.fails(unix.Chown(e.p("f"), -1, 555), unix.EPERM)
					e.ok(unix.Chown(e.p("f"), -1, bob))
				}, bob)
				e.wantOwner("f", alice, bob)
				e.wantMode("f", 0o755) // the suid bits are gone
			},
		},
		{
			Name: "chown by root clears suid and sgid of a program, not of a directory", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Perm(0o6755), "g": File("x").Perm(0o2644), "d": Dir().Perm(0o2755)},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "g", "d"} {
					e.ok(unix.Chown(e.p(n), alice, alice))
				}
				e.wantMode("f", 0o755)
				e.wantMode("g", 0o2644) // no program: mandatory locking, once
				e.wantMode("d", 0o2755)
			},
		},
		{
			Name: "a write, truncate and fallocate by another user clear suid and sgid", Needs: NeedUsers,
			Lower: Tree{
				"write": File("data").Perm(0o6777), "append": File("data").Perm(0o6777), "trunc": File("data").Perm(0o6777),
				"ftrunc": File("data").Perm(0o6777), "otrunc": File("data").Perm(0o6777), "falloc": File("data").Perm(0o6777),
				"read": File("data").Perm(0o6777), "punch": File("data").Perm(0o6777),
			},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.pwrite(e.open("write", unix.O_WRONLY), "X", 0)
					e.add("append", "X")
					e.ok(unix.Truncate(e.p("trunc"), 1))
					e.ok(unix.Ftruncate(e.open("ftrunc", unix.O_RDWR), 10))
					e.open("otrunc", unix.O_WRONLY|unix.O_TRUNC)
					e.ok(unix.Fallocate(e.open("falloc", unix.O_RDWR), 0, 0, 100))
					e.ok(unix.Fallocate(e.open("punch", unix.O_RDWR), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 2))
					e.want("read", "data")
				})
				for _, n := range []string{"write", "append", "trunc", "ftrunc", "otrunc", "falloc", "punch"} {
					e.wantMode(n, 0o777)
				}
				e.wantMode("read", 0o6777)
				e.want("write", "Xata")
			},
		},
		{
			Name: "the same in files that the mount has already copied up", Needs: NeedUsers,
			Lower: Tree{"w": File("data"), "t": File("data")},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"w", "t"} {
					e.add(n, "!")
					e.ok(unix.Chmod(e.p(n), 0o6777))
				}
				e.as(alice, alice, func() {
					fd := e.open("w", unix.O_RDWR)
					e.pwrite(fd, "X", 0)
					e.equal(e.fstat(fd).Mode&0o7777, uint32(0o777), "mode at once")
					e.ok(unix.Truncate(e.p("t"), 1))
				})
				e.wantMode("w", 0o777)
				e.wantMode("t", 0o777)
			},
		},
		{
			Name: "root's writes leave suid and sgid", Needs: NeedInitNS, // CAP_FSETID counts there only
			Lower: Tree{"f": File("data").Perm(0o6755)},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "more")
				e.wantMode("f", 0o6755)
			},
		},
		{
			Name: "a capability goes with any write, truncate and chown, root's too", Needs: NeedTrusted,
			Lower: Tree{
				"w": File("data").X("security.capability", capNetRaw), "t": File("data").X("security.capability", capNetRaw),
				"o": File("data").X("security.capability", capNetRaw), "keep": File("data").X("security.capability", capNetRaw),
			},
			Run: func(_ *testing.T, e *Env) {
				e.wantX("w", "security.capability", capNetRaw)
				e.add("w", "x")
				e.ok(unix.Truncate(e.p("t"), 1))
				e.ok(unix.Chown(e.p("o"), alice, alice))
				for _, n := range []string{"w", "t", "o"} {
					e.wantX(n, "security.capability", noData)
				}
				e.ok(unix.Chmod(e.p("keep"), 0o700))
				e.wantX("keep", "security.capability", capNetRaw)
				e.setx("w", "security.capability", capNetRaw)
				e.wantX("w", "security.capability", capNetRaw)
				fd := e.open("w", unix.O_RDWR)
				e.pwrite(fd, "y", 0)
				e.wantX("w", "security.capability", noData)
			},
		},
		{
			Name: "what is made in a setgid directory has its group, and directories the bit", Needs: NeedUsers,
			Lower: Tree{"d": Dir().Perm(0o2777).Own(0, bob), "d/old": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.put("d/f", "")
					e.mkdir("d/s")
					e.mkdir("d/s/t")
					e.ok(unix.Mknod(e.p("d/p"), unix.S_IFIFO|0o644, 0))
					e.ok(unix.Symlink("x", e.p("d/l")))
				})
				for _, n := range []string{"f", "s", "s/t", "p", "l"} {
					e.wantOwner("d/"+n, alice, bob)
				}
				e.wantMode("d/s", 0o2755)
				e.wantMode("d/s/t", 0o2755)
				e.wantMode("d/f", 0o644)
				e.wantMode("d", 0o2777)
			},
		},
		{
			Name: "a program made in a setgid directory by a stranger is not setgid", Needs: NeedUsers,
			Lower: Tree{"d": Dir().Perm(0o2777).Own(0, bob)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					unix.Umask(0)
					e.open("d/f", unix.O_CREAT|unix.O_WRONLY, 0o2775)
				})
				e.wantOwner("d/f", alice, bob)
				e.wantMode("d/f", 0o775)
			},
		},
		{
			Name: "chmod by who is not of the group can't set sgid", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Own(alice, bob)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() { e.ok(unix.Chmod(e.p("f"), 0o2755)) })
				e.wantMode("f", 0o755)
				e.as(alice, alice, func() { e.ok(unix.Chmod(e.p("f"), 0o2755)) }, bob)
				e.wantMode("f", 0o2755)
			},
		},
		{
			Name: "supplementary groups open files and directories", Needs: NeedUsers,
			Lower: Tree{"d": Dir().Perm(0o070).Own(bob, 555), "d/f": File("x").Perm(0o060).Own(bob, 555)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.want("d/f", "x")
					e.add("d/f", "y")
					e.put("d/new", "")
				}, 555)
				e.as(alice, alice, func() {
					_, err := e.tryOpen("d/f", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
				})
			},
		},
	}
}
