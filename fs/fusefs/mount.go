package fusefs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"
)

const (
	subtype     = "plyfs"
	fsType      = "fuse." + subtype
	defaultName = "plyfs"
)

// devFuse is a variable for tests only.
var devFuse = "/dev/fuse"

// Mount mounts dir and returns the descriptor that requests come from. userNS
// says that the caller is root in a user namespace with its own mounts.
//
// It calls mount(2) itself where that is permitted, and otherwise lets
// fusermount3 do it. Permissions are always checked by the kernel
// (default_permissions): with files that are opened without a message nobody
// else could. allow_root is served as allow_other: only libfuse knows the
// difference, and not for what is cached.
func Mount(dir string, o *layer.Options, userNS bool) (fd int, err error) {
	if err := checkMountpoint(dir); err != nil {
		return -1, err
	}
	fd, err = mountDirect(dir, o, userNS)
	// Root of a user namespace that may not mount wouldn't gain anything by a
	// setuid program, whose rights end there too.
	if err == nil || userNS || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return fd, err
	}
	return mountHelper(dir, o)
}

// checkMountpoint makes the errors of mount(2) that mean several things clear.
func checkMountpoint(dir string) error {
	var st unix.Stat_t
	switch err := unix.Stat(dir, &st); {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("mount point %q does not exist: create it", dir)
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("mount point %q is a mount whose server is gone: unmount it first", dir)
	case err != nil:
		return fmt.Errorf("mount point %q: %w", dir, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("mount point %q is not a directory", dir)
	}
	return nil
}

// mountFlags are the flags of mount(2).
//
// Real root gets devices and set-user-ID programs, like a mount of kernel
// overlayfs, unless they are declined. In a user namespace the kernel honours
// neither outside of it; set-user-ID inside is on when it is asked for by name,
// since a container image is of little use without.
func mountFlags(o *layer.Options, root, userNS bool) uintptr {
	var f uintptr
	if o.NoDev || !root || userNS {
		f |= unix.MS_NODEV
	}
	if o.NoSuid || !root || userNS && !o.Suid {
		f |= unix.MS_NOSUID
	}
	if o.ReadOnly {
		f |= unix.MS_RDONLY
	}
	if o.NoExec {
		f |= unix.MS_NOEXEC
	}
	if o.NoAtime {
		f |= unix.MS_NOATIME
	}
	return f
}

// sourceName is what the first column of /proc/mounts shows.
func sourceName(o *layer.Options) string {
	if o.FSName != "" {
		return o.FSName
	}
	return defaultName
}

// openDevice opens /dev/fuse.
func openDevice() (int, error) {
	fd, err := unix.Open(devFuse, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("%s does not exist: load the module with `modprobe fuse`; in a container, pass the device in (--device /dev/fuse)", devFuse)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%s: the kernel has no FUSE: load the module with `modprobe fuse`", devFuse)
	case errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("%s: %w: its mode should be 0666 (`chmod 666 %s`)", devFuse, err, devFuse)
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("%s: not permitted: the container's device rules forbid it; allow device 10:229 (--device /dev/fuse)", devFuse)
	}
	return -1, fmt.Errorf("open %s: %w", devFuse, err)
}

// Call is what mount(2) is told.
type Call struct {
	Source, Type, Data string
	Flags              uintptr
}

// DirectCall is the call of mount(2) that Mount makes, of a process with these ids,
// for who has opened the device himself.
func DirectCall(o *layer.Options, userNS bool, fd, uid, gid int) Call {
	root := uid == 0
	var data strings.Builder
	fmt.Fprintf(&data, "fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions", fd, uid, gid)
	if root || userNS || o.AllowOther || o.AllowRoot {
		data.WriteString(",allow_other")
	}
	return Call{sourceName(o), fsType, data.String(), mountFlags(o, root, userNS)}
}

// mountDirect calls mount(2). Its error is EPERM or EACCES when a helper could do
// what we may not.
func mountDirect(dir string, o *layer.Options, userNS bool) (int, error) {
	fd, err := openDevice()
	if err != nil {
		return -1, err
	}
	c := DirectCall(o, userNS, fd, os.Geteuid(), os.Getegid())
	err = unix.Mount(c.Source, dir, c.Type, c.Flags, c.Data)
	if err == nil {
		return fd, nil
	}
	_ = unix.Close(fd)
	switch {
	case errors.Is(err, unix.EPERM) && userNS:
		return -1, fmt.Errorf("mount on %q: not permitted in this user namespace: it needs CAP_SYS_ADMIN and a mount namespace of its own (`unshare -Urm`)", dir)
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("mount on %q: %w", dir, err)
	case errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("mount on %q: the kernel has no FUSE: load the module with `modprobe fuse`", dir)
	case errors.Is(err, unix.EBUSY):
		return -1, fmt.Errorf("mount on %q: the mount point is busy", dir)
	}
	return -1, fmt.Errorf("mount on %q as %s: %w", dir, fsType, err)
}

// Unmount unmounts dir, itself or by fusermount3. A symbolic link is not
// followed: it could have been put there to have something else unmounted.
func Unmount(dir string) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return unmountHelper(dir)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("unmount %q: something still uses it: `fuser -vm %s` tells what", dir, dir)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("unmount %q: it is not a mount point", dir)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("unmount %q: it does not exist", dir)
	}
	return fmt.Errorf("unmount %q: %w", dir, err)
}

// errText is an errno's words for a message.
func errText(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}
