package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// MapFile maps the first n bytes of a file for reading, shared with whoever
// maps it too.
func MapFile(fd int, n int) ([]byte, syscall.Errno) {
	mem, err := unix.Mmap(fd, 0, n, unix.PROT_READ, unix.MAP_SHARED)
	return mem, errno(err)
}

// UnmapFile takes it back.
func UnmapFile(mem []byte) { _ = unix.Munmap(mem) }

// Pwritev is Pwrite of several pieces one after the other, all of them.
func Pwritev(fd int, pieces [][]byte, off int64) syscall.Errno {
	pieces = append([][]byte(nil), pieces...)
	for len(pieces) > 0 {
		n, err := unix.Pwritev(fd, pieces, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return errno(err)
		}
		if n == 0 {
			return unix.ENOSPC
		}
		off += int64(n)
		for len(pieces) > 0 && n >= len(pieces[0]) {
			n -= len(pieces[0])
			pieces = pieces[1:]
		}
		if len(pieces) > 0 {
			pieces[0] = pieces[0][n:]
		}
	}
	return 0
}

// YieldToAll makes the calling thread give way to all others, for CPU and disk. The thread
// has to end with its work: there is no way back for who has no rights.
func YieldToAll() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
	const whoProcess, classIdle = 1, 3 << 13
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
}
