package layer

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// CheckMountPoint says whether a union of s can be mounted on path. A place
// inside a layer, a live one or not, would make the server walk into its own
// mount and wait for itself, where no signal reaches it. On top of a lower layer is fine, as it is for the kernel: the layers
// were opened before and stay reachable below.
func (s *Stack) CheckMountPoint(path string) error {
	d, err := openDir("mount point", path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer sys.Close(d.FD)
	for _, l := range []*Dir{s.Upper, s.Work} {
		if l != nil && l.id() == d.id() {
			return fmt.Errorf("mount point %s is the %s: mount on a directory of its own", path, s.role(l))
		}
	}
	marks := make(map[id]*Dir)
	for _, l := range s.dirs() {
		marks[l.id()] = l
	}
	if at := d.inside(marks, make(map[id]bool)); at != nil {
		return fmt.Errorf("mount point %s is inside %s %s, and the union would contain itself: mount on a directory outside of the layers", path, s.role(at), at.Path)
	}
	return nil
}
