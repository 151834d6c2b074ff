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
	if unix.Uname(&u) != nil {
		return false
	}
	first, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	major, _ := strconv.Atoi(first)
	minor, _ := strconv.Atoi(rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))])
	return major > 6 || major == 6 && minor >= 2
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
