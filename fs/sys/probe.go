package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// What the kernel has. Tests switch these off to run the fallbacks; nothing
// else writes them after start-up.
var (
	HasOpenat2   = probeOpenat2()   // Linux 5.6
	HasFchmodat2 = probeFchmodat2() // Linux 6.6
	HasXattrat   = probeXattrat()   // Linux 6.13
)

func probeOpenat2() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err == nil {
		unix.Close(fd)
	}
	return err != unix.ENOSYS && err != unix.EPERM
}

func probeFchmodat2() bool {
	_, e := at1(unix.SYS_FCHMODAT2, -1, "x", 0, unix.AT_SYMLINK_NOFOLLOW, 0)
	return e != unix.ENOSYS && e != unix.EPERM
}

func probeXattrat() bool {
	_, _, e := syscall.Syscall6(sysListxattrat, ^uintptr(0), 0, 0, 0, 0, 0)
	return e != unix.ENOSYS && e != unix.EPERM
}

// HasCapability says whether the process has a capability, in whatever user
// namespace it is.
func HasCapability(capability uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
