package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Rootfs is a root filesystem that a process of ours serves over a FUSE
// descriptor. The value is made from its text twice, in two processes: Mount is
// called in init, everything else in the stage.
type Rootfs interface {
	// Open opens what Serve needs, before the mount is made. It runs with
	// all rights over the ids of the container.
	Open() error
	// Mount mounts on dir in the namespaces of the payload and gives the
	// FUSE descriptor.
	Mount(dir string, userNS bool) (fd int, err error)
	// MountCall is what Mount tells mount(2) when root of a user namespace has
	// opened /dev/fuse as fd.
	MountCall(fd int) MountCall
	// Serve serves fd, which it owns, until the mount is gone. It mustn't
	// touch the mount. counters is memory to count in, empty as yet, that whoever
	// may look into the monitor can see; Serve owns it, too.
	Serve(fd int, userNS bool, counters *os.File) error
}

// MountCall are the arguments of mount(2), but for where.
type MountCall struct {
	Source, Type, Data string
	Flags              uintptr
}

// Opener makes a Rootfs of [Root.FS]; dir is the container's directory, in
// which it may have files. It only reads the text.
type Opener func(text, dir string) (Rootfs, error)

// CountersName is the name of the memory that the server of a container's root
// counts in, as /proc/PID/fd shows it. The monitor has a descriptor of it, because
// nobody can look into the server itself.
func CountersName(id string) string { return "plyfs-meter:" + id }

func newCounters(id string) (*os.File, error) {
	fd, err := unix.MemfdCreate(CountersName(id), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory for counters: memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "counters"), nil
}
