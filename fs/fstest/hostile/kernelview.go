package hostile

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// KernelPicture is the whole tree of a mount of kernel overlayfs over the same
// lowers, read-only, for comparison; nil where the kernel does not mount them.
func (s *Stand) KernelPicture(lowers ...string) *treedump.Tree {
	s.Helper()
	var full []string
	for _, l := range lowers {
		full = append(full, s.Path(l))
	}
	o := "lowerdir=" + strings.Join(append(full, s.Mkdir("empty")), ":")
	if s.UserNS {
		o += ",userxattr"
	}
	o += s.KernelOptions
	dir := s.Mkdir("kernel")
	if err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, o); err != nil {
		s.Logf("the kernel does not mount %s: %v", o, err)
		return nil
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	tree, err := treedump.Take(dir)
	s.must(err)
	return tree
}

// LikeKernel compares the mount with the kernel's picture of the same lowers.
// Link counts of directories and names that the kernel lists and does not find
// are wanted differences.
func (s *Stand) LikeKernel(lowers ...string) {
	s.Helper()
	want := s.KernelPicture(lowers...)
	got := s.Picture()
	if want == nil {
		return
	}
	d := treedump.Diff("kernel", want, "plyfs", got, func(field string, k, p *treedump.Node) bool {
		return field == "nlink" && k.Type == unix.S_IFDIR || field == "exists" && p == nil && k.Type == 0 || k != nil && k.Path == "." && field == "mtime"
	})
	if len(d) > 0 {
		s.Errorf("the mount is not what the kernel shows:\n  %s", strings.Join(d, "\n  "))
	}
}

// Never fails when a name with this base is anywhere in the mount, or a file
// with the content of marker: then the server was led out of its layers.
func (s *Stand) Never(marker string) {
	s.Helper()
	for p, n := range s.Picture().Nodes {
		if filepath.Base(p) == marker || strings.Contains(n.Target, s.Dir+"/"+marker) {
			s.Errorf("%s is seen in the mount: the server was led out of the layers", n)
		}
	}
}
