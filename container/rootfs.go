package container

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
	// touch the mount.
	Serve(fd int, userNS bool) error
}

// MountCall are the arguments of mount(2), but for where.
type MountCall struct {
	Source, Type, Data string
	Flags              uintptr
}

// Opener makes a Rootfs of [Root.FS]; dir is the container's directory, in
// which it may have files. It only reads the text.
type Opener func(text, dir string) (Rootfs, error)
