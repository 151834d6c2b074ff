package hostile

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// redirectLoops: directories that point at each other, at themselves, at what
// is above them and at what is in them.
func redirectLoops(s *Stand) {
	for _, l := range []string{"l1", "l2", "l3"} {
		for _, d := range []string{"a", "b", "self", "up/in", "down/in"} {
			s.Write(l+"/"+d+"/"+l, l)
		}
		s.Xattr(l+"/a", "redirect", "/b")
		s.Xattr(l+"/b", "redirect", "/a")
		s.Xattr(l+"/self", "redirect", "/self")
		s.Xattr(l+"/up/in", "redirect", "/up")
		s.Xattr(l+"/down", "redirect", "/down/in")
	}
	s.Mount([]string{"l1", "l2", "l3"})
	s.LikeKernel("l1", "l2", "l3")
	s.Unmount()
}

// redirectComposes: a redirect that leads through redirected, opaque, hidden and odd
// directories is put together as the kernel does it.
func redirectComposes(s *Stand) {
	lowers := []string{"l1", "l2", "l3", "l4"}
	for _, l := range lowers {
		for _, d := range []string{"one/sub/in", "two/sub/in", "three/sub/in", "sub", "four/in"} {
			s.Write(l+"/"+d+"/"+l, l)
		}
		s.Write(l+"/file", "x")
	}
	s.Xattr("l1/one", "redirect", "/two")
	s.Xattr("l2/two", "redirect", "/three")
	s.Xattr("l1/sub", "redirect", "/one/sub")
	s.Xattr("l2/one/sub", "redirect", "/three/sub")
	s.Xattr("l3/three", "redirect", "/four")
	s.Xattr("l1/two/sub", "redirect", "in")
	s.Xattr("l2/two/sub/in", "redirect", "/three/sub")
	s.Xattr("l3/three/sub", "opaque", "y")
	s.Xattr("l1/three", "redirect", "/file/in")
	s.Xattr("l1/four", "redirect", "/nowhere/in")
	s.Xattr("l2/four/in", "redirect", "/one/sub/in")
	s.Xattr("l2/four", "opaque", "y")
	s.Mount(lowers)
	s.LikeKernel(lowers...)
	s.Unmount()
}

// redirectHidden: what a whiteout hides, no redirect brings back.
func redirectHidden(s *Stand) {
	for _, l := range []string{"l1", "l2", "l3"} {
		s.Write(l+"/old/"+l, l)
		s.Write(l+"/dir/old/"+l, l)
		s.Write(l+"/new/in-"+l, l)
	}
	s.Xattr("l1/new", "redirect", "/old")
	s.Write("l1/new2/x", "x")
	s.Xattr("l1/new2", "redirect", "/dir/old")
	s.must(os.RemoveAll(s.Path("l2/old")))
	s.must(os.RemoveAll(s.Path("l2/dir")))
	s.must(unix.Mknod(s.Path("l2/old"), unix.S_IFCHR, 0))
	s.must(unix.Mknod(s.Path("l2/dir"), unix.S_IFCHR, 0))
	s.Mount([]string{"l1", "l2", "l3"})
	s.LikeKernel("l1", "l2", "l3")
	s.Unmount()
}

// redirectRefused: with redirect_dir=nofollow a redirected directory is
// refused. To show it as if it had no redirect would show another's files.
func redirectRefused(s *Stand) {
	s.Write("l1/new/above", "a")
	s.Xattr("l1/new", "redirect", "/old")
	s.Write("l2/old/below", "b")
	s.Write("l2/new/other", "o")
	s.Mount([]string{"l1", "l2"}, "redirect_dir=nofollow")
	if err := s.Ask("stat", func() error { _, err := os.Stat(s.Mnt + "/new"); return err }); !isErrno(err, unix.EPERM) {
		s.Errorf("a redirected directory gives %v, want EPERM", err)
	}
	s.Unmount()
}

// redirectClimbs: redirects that lead out of the layers lead nowhere.
func redirectClimbs(s *Stand) {
	s.Write("marker/marker", "secret")
	s.Write("l2/inside/below", "b")
	for i, v := range climbing(s.Dir) {
		d := fmt.Sprintf("d%02d", i)
		s.Write("l1/"+d+"/above", "a")
		s.Write("l1/deep/er/"+d+"/above", "a")
		s.Xattr("l1/"+d, "redirect", v)
		s.Xattr("l1/deep/er/"+d, "redirect", v)
		s.must(os.WriteFile(s.Path("l1/f"+d), nil, 0o644))
		s.Xattr("l1/f"+d, "metacopy", "")
		s.Xattr("l1/f"+d, "redirect", v+"/marker")
	}
	s.Mount([]string{"l1", "l2"})
	s.Never("marker")
	for _, d := range []string{"", "deep/er/"} {
		for i := range climbing(s.Dir) {
			p := fmt.Sprintf("%s/%sd%02d", s.Mnt, d, i)
			_ = s.Ask("create", func() error { return os.WriteFile(p+"/new", []byte("x"), 0o644) })
			_ = s.Ask("remove", func() error { return os.Remove(p + "/marker") })
			_ = s.Ask("rename", func() error { return os.Rename(p, p+"-moved") })
		}
	}
	s.Never("marker")
	s.Unmount()
	if b, err := os.ReadFile(s.Path("marker/marker")); err != nil || string(b) != "secret" {
		s.Errorf("what is outside was changed: %q %v", b, err)
	}
	if ents, err := os.ReadDir(s.Path("marker")); err != nil || len(ents) != 1 {
		s.Errorf("something was made outside: %v %v", ents, err)
	}
}

func climbing(dir string) []string {
	return []string{
		"../marker", "../../marker", "/../marker", "/inside/../../marker", "/./../marker", "//../marker", "..", ".", "/..", "/.", "/",
		"//", "", "/inside/", "//inside", "/inside//below", "inside/below", dir + "/marker", "marker\x00", "\x00", "/inside\x00/../marker",
		strings.Repeat("../", 80) + strings.TrimPrefix(dir, "/") + "/marker",
		"/" + strings.Repeat("a/", 500), strings.Repeat("n", 256), "/" + strings.Repeat("n", 3000),
	}
}
