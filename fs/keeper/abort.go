package keeper

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// abort ends the mounts for all their clients: no server can be had. With the last
// copy of its descriptor the kernel gives every request up; where others hold
// one, it is told to.
func (k *keeper) abort() {
	for i := range k.mounts {
		m := &k.mounts[i]
		fuse := k.get(m.prefix+"fuse", -1)
		if !connected(fuse) {
			k.say("the mount is gone" + k.on(m) + ", and no server could be had to say so")
			continue
		}
		k.say(fmt.Sprintf("servers died %d times in a minute: the mount is given up%s; unmount it, and mount again", crashes, k.on(m)))
		if abortByControl(fuse, m.dev) == nil {
			continue
		}
		if pin, err := pinMount(fuse, m.dev, m.dir); err == nil {
			_ = abortByForce(pin)
			unix.Close(pin)
		}
	}
	k.forget("")
	k.mounts = nil
}

// gone says whether no mount is left.
func (k *keeper) gone() bool {
	for i := range k.mounts {
		if connected(k.get(k.mounts[i].prefix+"fuse", -1)) {
			return false
		}
	}
	return true
}

var errGone = errors.New("the mount is gone")

// connected says whether the connection of a descriptor of /dev/fuse goes on: the
// mount is there, in whichever mount namespace, and wasn't aborted. The kernel ends it
// before it gives the mount's device number to another one.
func connected(fuse int) bool {
	p := []unix.PollFd{{Fd: int32(fuse)}}
	n, err := unix.Poll(p, 0)
	return err == nil && (n == 0 || p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) == 0)
}

var errNotPinned = errors.New("what is mounted there isn't the mount of this descriptor")

// pinPatience is how long the way to a mount point may take: it may lead through
// a mount that hangs.
const pinPatience = 2 * time.Second

// pinMount opens the mount that fuse serves, so that nothing else can get its
// device number before the descriptor is closed.
//
// The number alone says nothing: the kernel gives that of a mount that is gone to
// the next one of anybody. But two mounts that are there can't have the same one.
// So if there is a mount with this number that can't go any more, and ours is
// there, then it is ours.
func pinMount(fuse int, dev, dir string) (int, error) {
	if dir == "" || fuse < 0 {
		return -1, errNotPinned
	}
	opened := make(chan int)
	late := make(chan struct{})
	go func() {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			fd = -1
		}
		select {
		case opened <- fd:
		case <-late:
			unix.Close(fd)
		}
	}()
	pin := -1
	select {
	case pin = <-opened:
	case <-time.After(pinPatience):
		close(late)
	}
	var sx unix.Statx_t
	// Asked for nothing, the kernel tells the number to anybody, and asks no server.
	if pin < 0 || unix.Statx(pin, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &sx) != nil ||
		fmt.Sprintf("%d:%d", sx.Dev_major, sx.Dev_minor) != dev || !connected(fuse) {
		unix.Close(pin)
		return -1, errNotPinned
	}
	return pin, nil
}

// fusectlMagic is the type of the file system below connections.
const (
	connections  = "/sys/fs/fuse/connections"
	fusectlMagic = 0x65735543
)

// abortByControl uses the fusectl file system, which knows the mounts of everybody
// by the numbers of their devices; and a number is soon another mount's. But what was
// opened under it is our mount's if that is still there after the opening.
func abortByControl(fuse int, dev string) error {
	major, minor, _ := strings.Cut(dev, ":")
	if _, err := strconv.ParseUint(minor, 10, 32); err != nil || major != "0" {
		return fmt.Errorf("device %s is not that of a FUSE mount", dev)
	}
	fd, err := unix.Open(connections+"/"+minor+"/abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || int64(st.Type) != fusectlMagic {
		return fmt.Errorf("%s is not the fusectl file system", connections)
	}
	if !connected(fuse) {
		return errGone
	}
	_, err = unix.Write(fd, []byte("1"))
	return err
}

// abortByForce has the mount that pin is of unmounted by force: the kernel aborts
// its connection and then finds it in use, by pin. It takes CAP_SYS_ADMIN in the user
// namespace that the mount belongs to.
func abortByForce(pin int) error {
	err := unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", pin), unix.MNT_FORCE)
	if err == unix.EBUSY {
		return nil
	}
	return err
}
