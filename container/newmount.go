package container

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// newMount makes a filesystem that is mounted nowhere yet. Options are KEY or
// KEY=VALUE.
func newMount(fsType string, attrs int, options ...string) (int, error) {
	ctx, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("a mount of %s: %w", fsType, err)
	}
	defer unix.Close(ctx)
	for _, o := range append(options, "source="+fsType) {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return -1, fmt.Errorf("a mount of %s: option %s: %w", fsType, o, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("a mount of %s: %w", fsType, err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("a mount of %s: %w", fsType, err)
	}
	return fd, nil
}

// attach mounts a detached mount on what the descriptor to is open on. No
// name is looked up: nobody can change what it leads to in between.
func attach(fd, to int) error {
	return unix.MoveMount(fd, "", to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// setFlags adds MOUNT_ATTR flags to a mount, and to those below it.
func setFlags(fd int, attrs uint64, recursive bool) error {
	return setAttr(fd, unix.MountAttr{Attr_set: attrs}, recursive)
}

func setAttr(fd int, a unix.MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", flags, &a)
}

// inert is how everything is mounted that holds neither programs nor devices.
const inert = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
