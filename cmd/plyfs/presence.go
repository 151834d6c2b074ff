package main

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel lets go of a mount before its server has tidied up, and until then
// the work directory is taken. So that `plyfs umount` can wait for that end, a
// server has a name while it lives: an abstract datagram socket called after
// the device number of its mount. Nobody sends to it. Where it can't be had, or
// is in another network namespace, umount just doesn't wait.

// announce takes the name for a mount. The descriptor stays open until the
// process ends.
func announce(m mountLine) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && unix.Bind(fd, m.socket()) != nil {
		unix.Close(fd)
	}
}

// socket is the name of the mount's server.
func (m mountLine) socket() *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "@plyfs-mount-" + m.dev}
}

// lastWords is how long umount waits for a server. One that lives longer still
// has its mount in another mount namespace, which may be for ever.
const lastWords = 10 * time.Second

// awaitServer returns when the server of an unmounted mount has ended.
func awaitServer(m mountLine) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for end := time.Now().Add(lastWords); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err := unix.Connect(fd, m.socket()); errors.Is(err, unix.ECONNREFUSED) {
			return
		}
	}
	tell([]string{m.dir + " is unmounted here, but its server goes on: the mount is in use in another mount namespace"})
}
