package keeper

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// CloseInherited closes what the caller of this program left open: only what
// survived the exec can be it, as everything that Go opens is close-on-exec. The
// first server needs that for a while, the keeper doesn't.
func CloseInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
