package layer

import (
	"path/filepath"
	"strings"

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
//
// Layers that are below one directory share a clone of the mount there: the end
// of each has the kernel wait for all its CPUs, 0.1 ms a layer.
func (s *Stack) Detach() {
	if s.again {
		return
	}
	tree, dir := s.cloneTogether()
	for i := range s.Lower {
		d := &s.Lower[i]
		fd, ok := d.within(tree, dir)
		if !ok {
			fd, ok = privateClone(d.FD)
		}
		if ok {
			sys.Close(d.FD)
			d.FD = fd
		}
	}
	if tree >= 0 {
		sys.Close(tree)
	}
}

// cloneTogether clones the mount at the directory that all lowers are below.
func (s *Stack) cloneTogether() (tree int, dir string) {
	if len(s.Lower) < 2 {
		return -1, ""
	}
	for i := range s.Lower {
		p := s.Lower[i].Path
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return -1, ""
		}
		if i == 0 {
			dir = filepath.Dir(p)
		}
		for !isBelow(p, dir) {
			dir = filepath.Dir(dir)
		}
	}
	d, err := openDir("lowerdir", dir, unix.O_PATH)
	if err != nil {
		return -1, ""
	}
	defer sys.Close(d.FD)
	return cloneMount(d.FD), dir
}

// isBelow says so of clean paths; "/" has everything below it.
func isBelow(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") && path != "/"
}

// within opens the layer once more, below dir, whose clone is tree. The path
// may lead elsewhere by now, or to a mount point: then it isn't the layer.
func (d *Dir) within(tree int, dir string) (int, bool) {
	if tree < 0 {
		return -1, false
	}
	rel := strings.TrimPrefix(d.Path[len(dir):], "/")
	fd, e := sys.OpenBeneath(tree, rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if e != 0 {
		return -1, false
	}
	if who, e := idOf(fd); e != 0 || who != d.id() {
		sys.Close(fd)
		return -1, false
	}
	return fd, true
}

// privateClone is a descriptor of the same directory on a mount of its own.
func privateClone(dir int) (int, bool) {
	tree := cloneMount(dir)
	if tree < 0 {
		return -1, false
	}
	defer sys.Close(tree)
	fd, e := sys.Open(tree, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return fd, e == 0
}

// cloneMount makes a private, read-only mount of a directory, that lives as
// long as a file on it is open; -1 where it can't be had.
func cloneMount(dir int) int {
	tree, err := unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_RDONLY,
		Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		sys.Close(tree)
		return -1
	}
	return tree
}
