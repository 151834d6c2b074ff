package oracle

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// moveByHand does on one side what plyfs does where the kernel answers EXDEV to
// the rename of a directory: the move is made of a copy and a removal, as mv(1)
// would. It answers false, and has done nothing, where a copy would show: then
// the operation is played on neither side.
func (s *sequence) moveByHand(side *Side, o *Op) bool {
	from, to := side.path(o.Path), side.path(o.To)
	var st unix.Stat_t
	if o.Flags&^unix.RENAME_NOREPLACE != 0 || o.As != 0 || unix.Lstat(to, &st) == nil {
		return false
	}
	tree, err := treedump.Take(from)
	if err != nil {
		return false
	}
	for _, n := range tree.Nodes {
		if n.Err != "" || n.Type == 0 || (n.Type != unix.S_IFDIR && n.Nlink > 1) {
			return false
		}
	}
	// What is held open there would go on naming the old files.
	s.k.release()
	s.p.release()
	for _, p := range tree.Paths() {
		if err := copyNode(path.Join(from, p), path.Join(to, p), tree.Nodes[p]); err != nil {
			s.fail("move by hand of %s: %v", p, err)
		}
	}
	if err := os.RemoveAll(from); errors.Is(err, unix.ENOTEMPTY) {
		s.stop = &xattrWhiteouts
		return false
	} else if err != nil {
		s.fail("move by hand: %v", err)
	}
	paths := tree.Paths()
	for i := len(paths) - 1; i >= 0; i-- {
		n := tree.Nodes[paths[i]]
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path.Join(to, n.Path), []unix.Timespec{n.Mtime, n.Mtime}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			s.fail("move by hand, times of %s: %v", n.Path, err)
		}
	}
	return true
}

func copyNode(from, to string, n *treedump.Node) error {
	var err error
	switch n.Type {
	case unix.S_IFDIR:
		err = unix.Mkdir(to, 0o700)
	case unix.S_IFLNK:
		err = unix.Symlink(n.Target, to)
	case unix.S_IFREG:
		var b []byte
		if b, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
	default:
		err = unix.Mknod(to, n.Type|0o600, int(n.Rdev))
	}
	if err == nil {
		err = unix.Lchown(to, int(n.UID), int(n.GID))
	}
	if err == nil {
		err = copyXattrs(from, to)
	}
	if err == nil && n.Type != unix.S_IFLNK {
		err = unix.Chmod(to, n.Mode)
	}
	return err
}

func copyXattrs(from, to string) error {
	var names, value [64 << 10]byte
	// The directory was made in one with a default ACL, perhaps.
	for _, acl := range []string{aclAccess.Name, aclDefault.Name} {
		_ = unix.Lremovexattr(to, acl)
	}
	n, err := unix.Llistxattr(from, names[:])
	if err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		m, err := unix.Lgetxattr(from, name, value[:])
		if err == nil {
			err = unix.Lsetxattr(to, name, value[:m], 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
