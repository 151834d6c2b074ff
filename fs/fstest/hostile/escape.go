package hostile

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// swappedForSymlink: somebody with access to the upper replaces a directory by
// a symlink while it is mounted. The server, which may have the rights that
// this somebody lacks, is not led where the link points.
func swappedForSymlink(s *Stand) {
	s.Write("marker/marker", "secret")
	s.Write("marker/sub/marker", "secret")
	s.Write("l/other/f", "f")
	for _, d := range []string{"fresh", "known", "open"} {
		s.Write("upper/"+d+"/sub/f", "f")
	}
	s.Mount([]string{"l"})
	s.within("look at one before", func() error { _, err := os.Stat(s.Mnt + "/known/sub/f"); return err })
	held, err := os.Open(s.Mnt + "/open")
	s.must(err)
	defer held.Close()
	for _, d := range []string{"fresh", "known", "open"} {
		s.must(os.RemoveAll(s.Upper + "/" + d))
		s.must(os.Symlink(s.Path("marker"), s.Upper+"/"+d))
	}
	for _, d := range []string{"fresh", "known", "open"} {
		for _, dir := range []string{s.Mnt + "/" + d, s.Mnt + "/" + d + "/sub"} {
			s.useDirectory(dir)
		}
	}
	_ = s.Ask("create in the open one", func() error {
		fd, err := unix.Openat(int(held.Fd()), "new", unix.O_CREAT|unix.O_WRONLY, 0o644)
		return errors.Join(err, unix.Close(fd))
	})
	_ = s.Ask("read in the open one", func() error { return readsSecret(s, fmt.Sprintf("/proc/self/fd/%d/marker", held.Fd())) })
	s.unharmed()
	held.Close()
	s.Unmount()
}

// useDirectory does what would show or change what is outside. Through the
// mount, the symlink that replaced a directory may be seen as a symlink; what
// the test's own process then follows is no fault of the server, so nothing here
// follows one at the end, and none with a part of the path that was swapped.
func (s *Stand) useDirectory(dir string) {
	s.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	if err == nil {
		unix.Close(fd)
		fd, err = unix.Openat2(unix.AT_FDCWD, dir, how)
	}
	if err != nil {
		return
	}
	defer unix.Close(fd)
	in := fmt.Sprintf("/proc/self/fd/%d/", fd)
	for what, do := range map[string]func() error{
		"read":      func() error { return readsSecret(s, in+"marker") },
		"create":    func() error { return os.WriteFile(in+"new", []byte("x"), 0o644) },
		"mkdir":     func() error { return os.Mkdir(in+"newdir", 0o755) },
		"remove":    func() error { return os.Remove(in + "marker") },
		"chmod":     func() error { return os.Chmod(in+"marker", 0o777) },
		"rename":    func() error { return os.Rename(in+"marker", in+"moved") },
		"setxattr":  func() error { return unix.Setxattr(in+"marker", "user.x", []byte("x"), 0) },
		"rename in": func() error { return os.Rename(s.Mnt+"/other/f", in+"f2") },
	} {
		_ = s.Ask(what, do)
	}
}

func readsSecret(s *Stand, p string) error {
	b, err := os.ReadFile(p)
	if strings.Contains(string(b), "secret") {
		s.Errorf("%s reads what is outside of the layers", p)
	}
	return err
}

// unharmed looks at what is outside.
func (s *Stand) unharmed() {
	s.Helper()
	for _, p := range []string{"marker/marker", "marker/sub/marker"} {
		var st unix.Stat_t
		b, err := os.ReadFile(s.Path(p))
		if err != nil || string(b) != "secret" || unix.Lstat(s.Path(p), &st) != nil || st.Mode&0o777 != 0o644 {
			s.Errorf("%s outside of the layers was changed: %q %o %v", p, b, st.Mode, err)
		}
	}
	for p, want := range map[string]int{"marker": 2, "marker/sub": 1} {
		if ents, err := os.ReadDir(s.Path(p)); err != nil || len(ents) != want {
			s.Errorf("something was made in %s: %v %v", p, ents, err)
		}
	}
}

// symlinksOut: a symlink in a layer that points out of it is data. An xattr
// call, chown or utimens on it never reaches its target.
func symlinksOut(s *Stand) {
	s.Write("marker/marker", "secret")
	s.Write("marker/sub/marker", "secret")
	s.Mkdir("l")
	for _, d := range []string{"l", "upper"} {
		s.must(os.Symlink(s.Path("marker/marker"), s.Path(d+"/file-"+d)))
		s.must(os.Symlink(s.Path("marker"), s.Path(d+"/dir-"+d)))
	}
	s.must(os.Symlink("loop2", s.Path("l/loop1")))
	s.must(os.Symlink("loop1", s.Path("l/loop2")))
	s.Mount([]string{"l"})
	for _, name := range []string{"file-l", "dir-l", "file-upper", "dir-upper", "loop1"} {
		p := s.Mnt + "/" + name
		_ = s.Ask("lsetxattr", func() error { return unix.Lsetxattr(p, "trusted.x", []byte("x"), 0) })
		_ = s.Ask("lsetxattr", func() error { return unix.Lsetxattr(p, "user.x", []byte("x"), 0) })
		_ = s.Ask("lgetxattr", func() error { _, err := treexattrs(p); return err })
		s.within("lchown", func() error { return unix.Lchown(p, 0, 0) })
		s.within("utimens", func() error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW)
		})
		s.within("rename", func() error { return os.Rename(p, p+"-moved") })
	}
	if err := s.Ask("open of a loop", func() error { _, err := os.ReadFile(s.Mnt + "/loop2"); return err }); err == nil {
		s.Errorf("a loop of symlinks can be read")
	}
	for _, p := range []string{"marker", "marker/marker"} {
		if xs, err := treexattrs(s.Path(p)); err != nil || len(xs) > 0 {
			s.Errorf("%s outside of the layers got xattrs: %v %v", p, xs, err)
		}
		var st unix.Stat_t
		if unix.Lstat(s.Path(p), &st) != nil || st.Mtim.Sec == 0 {
			s.Errorf("%s outside of the layers got another time", p)
		}
	}
	s.unharmed()
	s.Unmount()
}

// deviceNodes: devices in a layer are shown, moved and removed, and what they
// stand for is not touched.
func deviceNodes(s *Stand) {
	s.Mkdir("l")
	numbers := []uint64{unix.Mkdev(1, 3), unix.Mkdev(0, 1), unix.Mkdev(1, 0), unix.Mkdev(4095, 1048575), unix.Mkdev(0, 255), unix.Mkdev(7, 0)}
	for i, dev := range numbers {
		s.must(unix.Mknod(s.Path(fmt.Sprintf("l/c%d", i)), unix.S_IFCHR|0o666, int(dev)))
		s.must(unix.Mknod(s.Path(fmt.Sprintf("l/b%d", i)), unix.S_IFBLK|0o666, int(dev)))
	}
	s.must(unix.Mknod(s.Path("l/block-0-0"), unix.S_IFBLK|0o666, 0)) // no whiteout
	s.must(unix.Mknod(s.Path("l/whiteout"), unix.S_IFCHR|0o666, 0))
	s.must(unix.Mknod(s.Path("l/socket"), unix.S_IFSOCK|0o666, 0))
	s.Mount([]string{"l"})
	s.LikeKernel("l")
	for i := range numbers {
		for _, c := range []string{"c", "b"} {
			p := fmt.Sprintf("%s/%s%d", s.Mnt, c, i)
			s.within("chmod", func() error { return os.Chmod(p, 0o600) })
			s.within("rename", func() error { return os.Rename(p, p+"-moved") })
			s.within("link", func() error { return os.Link(p+"-moved", p+"-link") })
			if i%2 == 0 {
				s.within("remove", func() error { return os.Remove(p + "-moved") })
			}
		}
	}
	s.Picture()
	s.Unmount()
}
