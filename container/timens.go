package container

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// timeAtExec says whether the kernel changes over to a new time namespace at
// exec: from Linux 6.2 on. Before that only a forked child is in it, and until
// it forks a process can make no thread: not ours, and not the payload.
func timeAtExec() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && since(unix.ByteSliceToString(u.Release[:]), 6, 2)
}

// since says whether a kernel's release is of a version or a later one.
func since(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	a, _ := strconv.Atoi(first)
	b, _ := strconv.Atoi(rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))])
	return a > major || a == major && b >= minor
}

// ownTime says whether a process is in another time namespace than we are. One
// of the host may not be entered, not even by who is in it.
func ownTime(pid int) bool {
	ours, err := os.Stat("/proc/self/ns/time")
	if err != nil {
		return false
	}
	its, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/ns/time")
	return err == nil && !os.SameFile(ours, its)
}
