package fstest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	// Says whether another process may lock the file PLYFS_FSTEST_FILE.
	stages["trylock"] = func() int {
		fd, err := unix.Open(os.Getenv("PLYFS_FSTEST_FILE"), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		}
		fmt.Print(err)
		return 0
	}
}

// otherLocks is what another process gets that wants a POSIX lock.
func (e *Env) otherLocks(name string) string {
	e.T.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageEnv+"=trylock", "PLYFS_FSTEST_FILE="+e.p(name))
	out, err := cmd.Output()
	e.ok(err)
	return string(out)
}

// locksCases: flock and fcntl locks, on lowers and across copy-up.
func locksCases() []Case {
	return []Case{
		{
			Name:  "flock excludes, shares and is given back",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				a, b := e.open("f", unix.O_RDONLY), e.open("f", unix.O_RDWR)
				e.ok(unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
				e.fails(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
				e.fails(unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
				e.ok(unix.Flock(a, unix.LOCK_SH|unix.LOCK_NB))
				e.ok(unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
				e.close(a)
				e.ok(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
			},
		},
		{
			Name:  "a lock taken on the lower file holds after its copy-up",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				a := e.open("f", unix.O_RDONLY)
				e.ok(unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
				e.add("f", "y")
				b := e.open("f", unix.O_RDWR)
				e.fails(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
				e.ok(unix.Flock(a, unix.LOCK_UN))
				e.ok(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
			},
		},
		{
			Name:  "fcntl locks exclude other processes, and not one's own",
			Lower: Tree{"f": File("0123456789")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				whole := unix.Flock_t{Type: unix.F_WRLCK}
				e.ok(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &whole))
				e.equal(e.otherLocks("f"), unix.EAGAIN.Error(), "another process")
				e.pwrite(fd, "X", 0)
				e.equal(e.otherLocks("f"), unix.EAGAIN.Error(), "another process after a copy-up")
				e.ok(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}))
				e.equal(e.otherLocks("f"), "<nil>", "another process after the unlock")
			},
		},
		{
			Name:  "locks of byte ranges meet only where they overlap",
			Lower: Tree{"f": File("0123456789")},
			Run: func(_ *testing.T, e *Env) {
				a, b := e.open("f", unix.O_RDWR), e.open("f", unix.O_RDWR)
				lock := func(fd int, typ int16, start, n int64) error {
					return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Start: start, Len: n})
				}
				e.ok(lock(a, unix.F_WRLCK, 0, 5))
				e.ok(lock(b, unix.F_WRLCK, 5, 5))
				e.fails(lock(b, unix.F_RDLCK, 4, 1), unix.EAGAIN)
				get := unix.Flock_t{Type: unix.F_RDLCK, Start: 0, Len: 10}
				e.ok(unix.FcntlFlock(uintptr(b), unix.F_OFD_GETLK, &get))
				e.equal(get.Type, int16(unix.F_WRLCK), "type of the lock in the way")
				e.close(a)
				e.ok(lock(b, unix.F_RDLCK, 4, 1))
			},
		},
		{
			Name:  "a lock is not lost when the file is renamed or unlinked",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				a := e.open("f", unix.O_RDWR)
				e.ok(unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
				e.rename("f", "g")
				b := e.open("g", unix.O_RDWR)
				e.fails(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
				e.unlink("g")
				e.fails(unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
				e.put("g", "another")
				e.ok(unix.Flock(e.open("g", unix.O_RDWR), unix.LOCK_EX|unix.LOCK_NB))
			},
		},
		{
			Name: "a lock file made with O_EXCL is made once",
			Run: func(_ *testing.T, e *Env) {
				e.open("lock", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
				_, err := e.tryOpen("lock", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
				e.fails(err, unix.EEXIST)
				e.unlink("lock")
				e.open("lock", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
			},
		},
	}
}
