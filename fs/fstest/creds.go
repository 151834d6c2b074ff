package fstest

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// alone runs f on a thread of its own whose umask and working directory are
// its own, too; the thread ends with f. A failing assertion in f ends the
// test.
func (e *Env) alone(f func()) {
	e.T.Helper()
	done := make(chan struct{})
	go func() {
		// Never unlocked: the thread dies with the goroutine, and with it
		// whatever f made of its credentials.
		runtime.LockOSThread()
		defer close(done)
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			e.T.Errorf("unshare(CLONE_FS): %v", err)
			return
		}
		// The process's first thread can't die: it is laid aside as it is,
		// and what it stands on stays busy.
		defer func() { _ = unix.Chdir("/") }()
		f()
	}()
	<-done
	// A change of ids made the process undumpable, which would take its
	// /proc files away from it in a user namespace.
	unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	if e.T.Failed() {
		e.T.FailNow()
	}
}

// as runs f as another user, with no capability and no supplementary group
// but groups.
func (e *Env) as(uid, gid int, f func(), groups ...int) {
	e.T.Helper()
	e.alone(func() {
		e.T.Helper()
		if err := become(uid, gid, groups); err != nil {
			e.T.Errorf("become %d:%d: %v", uid, gid, err)
			return
		}
		f()
	})
}

// become changes the ids of the calling thread only.
func become(uid, gid int, groups []int) error {
	list := make([]uint32, len(groups)+1)
	for i, g := range groups {
		list[i] = uint32(g)
	}
	if err := rawSetgroups(list[:len(groups)]); err != nil {
		return err
	}
	if _, _, no := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); no != 0 {
		return no
	}
	if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); no != 0 {
		return no
	}
	return nil
}
