package layer

import (
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Detach opens each lower layer anew through a private, read-only clone of its
// mount that is nowhere in the tree, where the caller may make one (root, or
// root of a user namespace). After that no fault of the server can write to a
// lower, and what is mounted inside a lower, before or later, is not seen: the
// union mounted within its own layer would wait for itself. Kernel overlayfs
// does the same (fs/overlayfs/super.c: clone_private_mount()).
//
// Where it can't be had the layers stay as they are. The upper does: it must
// be on one mount with the work directory.
func (s *Stack) Detach() {
	for i := range s.Lower {
		d := &s.Lower[i]
		if fd, ok := privateClone(d.FD); ok {
			sys.Close(d.FD)
			d.FD = fd
		}
	}
}

// privateClone is a descriptor of the same directory on a mount of its own.
func privateClone(dir int) (int, bool) {
	tree, err := unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, false
	}
	// The mount lives as long as a file on it is open.
	defer sys.Close(tree)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_RDONLY,
		Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		return -1, false
	}
	fd, e := sys.Open(tree, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return fd, e == 0
}
