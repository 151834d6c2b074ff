package layer

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// lockFile is what a server holds in its work directory (flock) until it has
// ended; union makes it.
const lockFile = "plyfs/lock"

// AwaitIdle waits until no server holds the work directory or the upper, for d
// at most. The kernel lets go of a mount before its server has tidied up, so that
// who unmounts and mounts again at once would find them taken.
func (s *Stack) AwaitIdle(d time.Duration) {
	if s.Work == nil {
		return
	}
	end := time.Now().Add(d)
	if fd, e := sys.OpenBeneath(s.Work.FD, lockFile, unix.O_RDWR); e == 0 {
		await(fd, end)
		sys.Close(fd) // lets go of the lock
	}
	await(s.Upper.FD, end) // keeps it: union takes it by the same descriptor
}

// await locks fd, or gives up.
func await(fd int, end time.Time) {
	for unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK && time.Now().Before(end) {
		time.Sleep(2 * time.Millisecond)
	}
}
