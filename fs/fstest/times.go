package fstest

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	now  = (1 << 30) - 1 // UTIME_NOW
	omit = (1 << 30) - 2 // UTIME_OMIT
)

func (e *Env) utimes(name string, atime, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, e.p(name), []unix.Timespec{atime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// timesCases: timestamps, to the nanosecond.
func timesCases() []Case {
	return []Case{
		{
			Name:  "utimensat sets nanoseconds on every kind of object",
			Lower: Tree{"f": File("x"), "d": Dir(), "l": Sym("f"), "p": Fifo()},
			Run: func(_ *testing.T, e *Env) {
				e.put("up", "")
				for _, n := range []string{"f", "d", "l", "p", "up"} {
					for _, ts := range []unix.Timespec{{Sec: 1_000_000_007, Nsec: 123_456_789}, {Sec: 1}, unix.NsecToTimespec(lateSec*1e9 + 999_999_999)} {
						e.ok(e.utimes(n, unix.Timespec{Sec: 5, Nsec: 6}, ts))
						st := e.lstat(n)
						e.equal(st.Mtim, ts, "mtime of "+n)
						e.equal(st.Atim, unix.Timespec{Sec: 5, Nsec: 6}, "atime of "+n)
					}
				}
				e.want("f", "x")
			},
		},
		{
			Name:  "UTIME_OMIT leaves a time and UTIME_NOW takes the clock",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				old := e.lstat("f")
				e.ok(e.utimes("f", unix.Timespec{Sec: 77}, unix.Timespec{Nsec: omit}))
				st := e.lstat("f")
				e.equal(st.Mtim, old.Mtim, "mtime")
				e.equal(st.Atim.Sec, int64(77), "atime")
				e.ok(e.utimes("f", unix.Timespec{Nsec: omit}, unix.Timespec{Nsec: now}))
				st = e.lstat("f")
				e.equal(st.Atim.Sec, int64(77), "atime")
				e.is(st.Mtim.Sec > 1_600_000_000, "mtime is %d", st.Mtim.Sec)
				e.ok(e.utimes("f", unix.Timespec{Nsec: omit}, unix.Timespec{Nsec: omit}))
				e.equal(e.lstat("f").Mtim, st.Mtim, "mtime")
			},
		},
		{
			Name:  "a copy-up keeps the times of a file and of its parents",
			Lower: Tree{"d/e/f": File("x"), "d": Dir().At(11e17 + 5), "d/e": Dir().At(12e17 + 7)},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Chmod(e.p("d/e/f"), 0o600))
				e.equal(e.mtime("d/e/f"), int64(defaultMtime), "mtime of the file")
				e.equal(e.mtime("d/e"), int64(12e17+7), "mtime of its directory")
				e.equal(e.mtime("d"), int64(11e17+5), "mtime of the directory above")
				if e.Union {
					var st unix.Stat_t
					e.ok(unix.Lstat(e.Upper("d/e"), &st))
					e.equal(st.Mtim.Nano(), int64(12e17+7), "mtime of the directory in the upper")
				}
			},
		},
		{
			Name:  "a write moves mtime and ctime, chmod and link only ctime",
			Lower: Tree{"f": File("x"), "g": File("x")},
			Run: func(_ *testing.T, e *Env) {
				tick()
				before := e.lstat("f")
				e.ok(unix.Chmod(e.p("f"), 0o611))
				st := e.lstat("f")
				e.equal(st.Mtim, before.Mtim, "mtime after chmod")
				e.is(st.Ctim.Nano() > before.Ctim.Nano(), "ctime stayed at chmod")
				tick()
				e.link("f", "f2")
				st2 := e.lstat("f")
				e.equal(st2.Mtim, before.Mtim, "mtime after link")
				e.is(st2.Ctim.Nano() > st.Ctim.Nano(), "ctime stayed at link")
				tick()
				e.add("f", "y")
				st3 := e.lstat("f")
				e.is(st3.Mtim.Nano() > st2.Ctim.Nano(), "mtime stayed at a write")
				e.is(st3.Ctim.Nano() > st2.Ctim.Nano(), "ctime stayed at a write")
			},
		},
		{
			Name:  "times that were set after a write stay set",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.pwrite(fd, "dirty", 0)
				e.ok(e.utimes("f", unix.Timespec{Sec: 8}, unix.Timespec{Sec: 9, Nsec: 1}))
				e.equal(e.mtime("f"), int64(9_000_000_001), "mtime at once")
				e.close(fd)
				e.equal(e.mtime("f"), int64(9_000_000_001), "mtime after close")
				e.want("f", "dirty")
				fd = e.open("new", unix.O_CREAT|unix.O_RDWR)
				e.pwrite(fd, "tar does this", 0)
				ts := []unix.Timespec{{Sec: 8}, {Sec: 10, Nsec: 2}}
				e.ok(unix.UtimesNanoAt(unix.AT_FDCWD, e.p("new"), ts, 0))
				e.ok(unix.Fchmod(fd, 0o600))
				e.close(fd)
				e.equal(e.mtime("new"), int64(10_000_000_002), "mtime of the new file")
			},
		},
		{
			Name: "statx tells the time of birth, and a write doesn't change it",
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "x")
				a := e.birth("f")
				tick()
				e.add("f", "y")
				e.ok(unix.Chmod(e.p("f"), 0o600))
				e.rename("f", "g")
				e.equal(e.birth("g"), a, "time of birth")
			},
		},
		{
			Name: "statx tells the time of birth of a lower file", RO: true,
			Lower: Tree{"f": File("x"), "d/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.is(e.birth("f").Sec > 1_600_000_000, "born at %d", e.birth("f").Sec)
				e.is(e.birth("d").Sec > 1_600_000_000, "born at %d", e.birth("d").Sec)
			},
		},
		{
			Name: "who may set times: the owner any, a writer only now", Needs: NeedUsers,
			Lower: Tree{"mine": File("x").Own(alice, alice), "pub": File("x").Perm(0o666), "ro": File("x")},
			Run: func(_ *testing.T, e *Env) {
				any1, now2 := unix.Timespec{Sec: 1}, unix.Timespec{Nsec: now}
				e.as(alice, alice, func() {
					e.ok(e.utimes("mine", any1, any1))
					e.ok(e.utimes("pub", now2, now2))
					e.fails(e.utimes("pub", any1, any1), unix.EPERM)
					e.fails(e.utimes("ro", now2, now2), unix.EACCES)
				})
				e.equal(e.mtime("mine"), int64(1e9), "mtime")
				e.equal(e.mtime("ro"), int64(defaultMtime), "mtime")
			},
		},
		{
			Name:  "a read of a lower file never copies it up",
			Lower: Tree{"f": File("x"), "d/g": File("y"), "l": Sym("f")},
			Run: func(_ *testing.T, e *Env) {
				for range 3 {
					e.want("f", "x")
					e.want("l", "x")
					e.wantNames("d", "g")
				}
				e.wantUpper()
			},
		},
	}
}

func (e *Env) birth(name string) unix.StatxTimestamp {
	e.T.Helper()
	var st unix.Statx_t
	e.ok(unix.Statx(unix.AT_FDCWD, e.p(name), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st))
	if st.Mask&unix.STATX_BTIME == 0 {
		var below unix.Statx_t
		where := e.Mount.Lowers[0]
		e.ok(unix.Statx(unix.AT_FDCWD, where, 0, unix.STATX_BTIME, &below))
		if below.Mask&unix.STATX_BTIME == 0 {
			e.T.Skip("the filesystem below has no time of birth")
		}
		e.T.Fatalf("statx has no time of birth of %s", name)
	}
	return st.Btime
}

// lateSec is a second that signed 32 bits can't count, where the system's
// timespec can.
var lateSec = map[bool]int64{true: 4_000_000_000, false: 2_000_000_000}[unsafe.Sizeof(unix.Timespec{}.Sec) == 8]
