package layer

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// lockFile is what a server holds in its work directory (flock) until it has
// ended; union makes it.
const lockFile = "plyfs/lock"

// AwaitIdle waits until no server holds the work directory, for d at most. The
// kernel lets go of a mount before its server has tidied up, so that who
// unmounts and mounts again at once would find it taken.
func (s *Stack) AwaitIdle(d time.Duration) {
	if s.Work == nil {
		return
	}
	fd, e := sys.OpenBeneath(s.Work.FD, lockFile, unix.O_RDWR)
	if e != 0 {
		return // no server has been here
	}
	defer sys.Close(fd) // lets go of the lock
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			return
		}
	}
}
