package fusefs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// noResendEnv has this process take the kernel for one that doesn't send again what
// was in flight, for the tests of that.
const noResendEnv = "PLYFS_NO_RESEND"

// resends says whether the kernel is one that sends again what a server has read and
// not answered. It has to be known before INIT is read, where the kernel says so itself.
var resends = sync.OnceValue(func() bool {
	if os.Getenv(noResendEnv) != "" {
		return false
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return true
	}
	return resendsSince(unix.ByteSliceToString(u.Release[:]))
})

// resendsSince says whether a release of Linux is 6.9 or later.
func resendsSince(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return true
	}
	return major > 6 || major == 6 && minor >= 9
}

// unsent is what of the capabilities the kernel isn't to have.
func unsent() uint64 {
	if resends() {
		return 0
	}
	return fuse.CAP_HAS_RESEND
}

// cloneDevice is FUSE_DEV_IOC_CLONE.
const cloneDevice = 0x8004e500

// queueDevice is a device of its own on the connection of another one, which is
// kept as well. What was read through it ends with ECONNABORTED when it is closed,
// and be it by the death of this process, while the connection goes on: without it
// whoever waits for an answer would do so until the connection ends.
type queueDevice struct {
	fdDevice
	whole int
}

// ownQueue gives a server that is kept a device whose death frees its clients, on
// kernels where nobody else could answer them.
func ownQueue(fd int) (device, error) {
	if resends() {
		return fdDevice(fd), nil
	}
	own, err := openDevice()
	if err != nil {
		return fdDevice(fd), err
	}
	whole := uint32(fd)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(own), cloneDevice, uintptr(unsafe.Pointer(&whole))); e != 0 {
		unix.Close(own)
		return fdDevice(fd), fmt.Errorf("FUSE_DEV_IOC_CLONE: %w", e)
	}
	return queueDevice{fdDevice(own), fd}, nil
}

func (d queueDevice) close() error {
	err := d.fdDevice.close()
	if e := unix.Close(d.whole); err == nil {
		err = e
	}
	return err
}
