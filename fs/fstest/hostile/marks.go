package hostile

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

const overrideStat = "user.containers.override_stat"

// garbageOverride: an override_stat of the wrong length or form makes its own
// file fail, or be shown as it lies there; its neighbours are as they were.
func garbageOverride(s *Stand) {
	s.Mkdir("l")
	s.must(unix.Setxattr(s.Path("l"), overrideStat, []byte("0:0:0755:dir"), 0))
	s.must(unix.Setxattr(s.Upper, overrideStat, []byte("0:0:0755:dir"), 0))
	for i, v := range overrideValues() {
		p := s.Write(fmt.Sprintf("l/bad%02d", i), "data")
		s.must(unix.Setxattr(p, overrideStat, []byte(v), 0))
		d := s.Mkdir(fmt.Sprintf("l/baddir%02d", i))
		s.must(unix.Setxattr(d, overrideStat, []byte(v), 0))
	}
	good := s.Write("l/good", "data")
	s.must(unix.Setxattr(good, overrideStat, []byte("33:44:0640:file"), 0))
	s.Mount([]string{"l"}, "xattr_permissions=2")
	tree := s.Picture()
	uid, gid := uint32(33), uint32(44)
	if !nsbox.ManyIDs() {
		uid, gid = 0, 0 // what the user namespace has no id for is shown as root's
	}
	if n := tree.Nodes["good"]; n == nil || n.UID != uid || n.GID != gid || n.Mode != 0o640 {
		s.Errorf("the good file between the bad ones is %v", n)
	}
	for i := range overrideValues() {
		p := fmt.Sprintf("%s/bad%02d", s.Mnt, i)
		_ = s.Ask("chmod of a bad file", func() error { return os.Chmod(p, 0o600) })
		_ = s.Ask("chmod of a bad directory", func() error { return os.Chmod(strings.Replace(p, "bad", "baddir", 1), 0o700) })
		_ = s.Ask("unlink of a bad file", func() error { return os.Remove(p) })
	}
	s.Unmount()
}

func overrideValues() []string {
	return []string{
		"", ":", "::", ":::", "0", "0:0", "x:y:z", "0:0:", "0:0:9999:file", "-1:-1:0644:file", "99999999999:0:0644:file",
		"0:4294967295:0644:file", "0:0:0644:", "0:0:0644:nothing", "0:0:0644:block", "0:0:0644:block-", "0:0:0644:block-1",
		"0:0:0644:block-1-", "0:0:0644:block-99999999999-1", "0:0:0644:char--1--1", "0:0:0644:dir", "0:0:0644:symlink",
		"0:0:0644:file:more", "0:0:0644:file\x00", "\x00", "0:0:77777777777777:file", strings.Repeat("0", 4000),
		strings.Repeat(":", 4000), "0:0:0644:" + strings.Repeat("x", 3000), " 0:0:0644:file", "0x1:0:0644:file", "+1:0:0644:file",
	}
}

// garbageRoot: the layer's own root carries the garbage.
func garbageRoot(s *Stand) {
	for _, v := range []string{"", ":::", "0:0:9999:file", "0:0:0644:symlink", strings.Repeat("7", 4000)} {
		s.Mkdir("l")
		s.must(unix.Setxattr(s.Path("l"), overrideStat, []byte(v), 0))
		s.Write("l/f", "data")
		if err := s.TryMount(s.Options([]string{"l"}, "xattr_permissions=2")); err != nil {
			s.Logf("refused, which is right, too: %v", err)
			continue
		}
		s.Picture()
		s.Unmount()
	}
}

// garbageOpaque: only "y" makes a directory opaque.
func garbageOpaque(s *Stand) {
	values := []string{"", "n", "Y", "yy", "y\x00", "x", "xx", "\xff", strings.Repeat("y", 1000)}
	for i, v := range append(values, "y") {
		s.Write(fmt.Sprintf("low/d%d/below", i), "b")
		s.Write(fmt.Sprintf("top/d%d/above", i), "a")
		s.Xattr(fmt.Sprintf("top/d%d", i), "opaque", v)
		s.Write(fmt.Sprintf("top/f%d", i), "a")
		s.Xattr(fmt.Sprintf("top/f%d", i), "opaque", v)
	}
	s.Xattr("top", "opaque", "y")
	s.Mount([]string{"top", "low"})
	s.LikeKernel("top", "low")
	s.Unmount()
}

// garbageRecords: the other xattrs that overlayfs keeps, with values that mean
// nothing.
func garbageRecords(s *Stand) {
	for i, name := range []string{"origin", "impure", "nlink", "upper", "uuid", "protattr", "unknown", "overlay.opaque"} {
		for j, v := range []string{"", "y", "U+99999999999999999999", "L-1", "\x00\xfb\xff\x00\x01", "\x00\xfb\x15\x00" + strings.Repeat("\x00", 17), strings.Repeat("z", 1500)} {
			for _, root := range []string{"l", "upper"} {
				p := fmt.Sprintf("%s/f%d.%d", root, i, j)
				s.Write(p, "data")
				s.Xattr(p, name, v)
				d := fmt.Sprintf("%s/d%d.%d", root, i, j)
				s.Mkdir(d)
				s.Xattr(d, name, v)
			}
		}
	}
	s.Mount([]string{"l"})
	for p, n := range s.Picture().Nodes {
		if n.Err != "" {
			s.Errorf("%s cannot be read: %s", p, n.Err)
		}
	}
	s.within("rename of every directory", func() error {
		ents, err := os.ReadDir(s.Mnt)
		for _, e := range ents {
			if err == nil {
				err = os.Chmod(s.Mnt+"/"+e.Name(), 0o700)
			}
		}
		return err
	})
	s.Unmount()
}

// metacopyChains: the data of a metacopy file is where the kernel finds it,
// through redirects, and where the kernel finds none there is none.
func metacopyChains(s *Stand) {
	s.KernelOptions = ",metacopy=on,redirect_dir=on"
	hollow := func(p, redirect string) {
		s.Write(p, "")
		s.must(os.Truncate(s.Path(p), 10))
		s.Xattr(p, "metacopy", "")
		if redirect != "" {
			s.Xattr(p, "redirect", redirect)
		}
	}
	for _, d := range []string{"", "dir/", "other/"} {
		for _, n := range []string{"a", "b", "c", "d"} {
			s.Write("l4/"+d+n, fmt.Sprintf("%-10.10s", "l4 "+d+n))
		}
	}
	s.Write("l3/dir/only3", "l3  only3 ")
	hollow("l1/a", "")
	hollow("l1/b", "a")
	hollow("l2/b", "/dir/b")
	hollow("l1/c", "/dir/c")
	hollow("l2/dir/c", "d")
	hollow("l1/dir/d", "/moved/d")
	s.Mkdir("l2/moved")
	s.Xattr("l2/moved", "redirect", "/other")
	hollow("l1/dir/a", "/dir/only3")
	hollow("l1/dir/gone", "/dir/nowhere")
	hollow("l2/dir/only3", "")
	hollow("l4/bottom", "")
	hollow("l1/over-dir", "")
	s.Mkdir("l2/over-dir")
	s.Write("l3/over-dir", "hidden")
	hollow("l1/bad", "dir/a")
	s.Mount([]string{"l1", "l2", "l3", "l4"})
	bottom := s.Mnt + "/bottom"
	if _, err := os.ReadFile(bottom); !isErrno(err, unix.EIO) {
		s.Errorf("a metacopy file in the bottom layer reads with %v, want EIO", err)
	}
	if err := s.Ask("append", func() error { return appendSync(bottom, "x") }); err == nil {
		s.Errorf("a metacopy file in the bottom layer is copied up as zeros")
	}
	s.within("its removal", func() error { return os.Remove(bottom) })
	s.must(os.Remove(s.Path("l4/bottom")))
	s.LikeKernel("l1", "l2", "l3", "l4")
	s.Unmount()
}

// metacopyWithoutData: a file whose data is said to be in a lower layer that
// does not have it fails. It never reads as zeros.
func metacopyWithoutData(s *Stand) {
	s.Write("l/dir/x", "x")
	s.Write("l/data", "data data ")
	files := []string{"gone", "dir", "long", "up"}
	want := unix.EIO
	if s.UserNS {
		files = append(files, "data") // the kernel follows none in this mode
		want = unix.EPERM
	}
	for _, p := range files {
		f := "upper/" + p
		s.must(os.WriteFile(s.Path(f), nil, 0o644))
		s.must(os.Truncate(s.Path(f), 4096))
		s.Xattr(f, "metacopy", "")
	}
	s.Xattr("upper/up", "redirect", "/../../outside")
	s.Xattr("upper/long", "metacopy", "\x00\x10\x00\x01short")
	s.Write("outside", strings.Repeat("secret ", 600))
	s.Mount([]string{"l"})
	for _, p := range files {
		var b []byte
		err := s.Ask("read "+p, func() (err error) {
			b, err = os.ReadFile(s.Mnt + "/" + p)
			return err
		})
		if err == nil {
			s.Errorf("%s has no data and reads as %d bytes %.20q", p, len(b), b)
		}
		if p != "up" && !isErrno(err, want) {
			s.Errorf("%s gives %v, want %v", p, err, want)
		}
		_ = s.Ask("chmod "+p, func() error { return os.Chmod(s.Mnt+"/"+p, 0o600) })
		_ = s.Ask("append "+p, func() error { return appendTo(s.Mnt+"/"+p, "x") })
		_ = s.Ask("remove "+p, func() error { return os.Remove(s.Mnt + "/" + p) })
	}
	s.Unmount()
}

func appendTo(p, text string) error {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
