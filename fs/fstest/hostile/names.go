package hostile

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// oddWhiteouts: names that begin like an AUFS whiteout and are none, or hide
// what cannot be hidden.
func oddWhiteouts(s *Stand) {
	s.Write("low/stays", "s")
	s.Write("low/goes", "g")
	s.Write("low/d/f", "f")
	odd := []string{
		".wh..wh.", ".wh.", ".wh..", ".wh...", ".wh..wh", ".wh..wh..opq", ".wh..wh..opq.", ".wh..wh.plnk", ".wh..wh.aufs", ".wh..wh.orph",
		".wh..wh..wh.goes", ".wh." + strings.Repeat("n", 251), ".wh.goes", ".wh", ".WH.stays", "wh.stays",
	}
	for i, name := range odd {
		for _, dir := range []string{"mid", "mid/d"} {
			switch p := dir + "/" + name; i % 3 {
			case 0:
				s.Write(p, "")
			case 1:
				s.Mkdir(dir)
				s.must(os.Symlink("nowhere", s.Path(p)))
			default:
				s.Write(p+"/file", "x")
			}
		}
	}
	s.Write("top/new", "n")
	s.Mount([]string{"top", "mid", "low"})
	tree := s.Picture()
	for p, n := range tree.Nodes {
		if n.Type == 0 {
			s.Errorf("%s is listed and does not exist", p)
		}
	}
	if tree.Nodes["new"] == nil {
		s.Errorf("the file of the top layer is hidden by a whiteout below")
	}
	for _, name := range odd {
		p := s.Mnt + "/" + name
		_ = s.Ask("create "+name, func() error { return os.WriteFile(p, []byte("x"), 0o644) })
		_ = s.Ask("mkdir "+name, func() error { return os.Mkdir(p, 0o755) })
		_ = s.Ask("rename "+name, func() error { return os.Rename(s.Mnt+"/new", p) })
		_ = s.Ask("remove "+name, func() error { return os.RemoveAll(p) })
	}
	s.Picture()
	s.Unmount()
}

// longNames: 255 bytes is the longest name, with no room for a prefix or a
// suffix that a server might want to add.
func longNames(s *Stand) {
	name := func(c string) string { return strings.Repeat(c, 255) }
	for _, c := range []string{"a", "b", "c"} {
		s.Write("l/"+name(c), "file "+c)
	}
	s.Write("l/"+name("d")+"/"+name("e"), "deep")
	s.must(os.Symlink("target", s.Path("l/"+name("s"))))
	s.Mount([]string{"l"})
	m := s.Mnt + "/"
	s.within("unlink", func() error { return os.Remove(m + name("a")) })
	s.within("rename to a long name", func() error { return os.Rename(m+name("b"), m+name("B")) })
	s.within("append", func() error { return appendTo(m+name("c"), "more") })
	s.within("unlink below", func() error { return os.Remove(m + name("d") + "/" + name("e")) })
	s.within("rmdir", func() error { return os.Remove(m + name("d")) })
	s.within("mkdir in its place", func() error { return os.Mkdir(m+name("d"), 0o755) })
	s.within("unlink of the symlink", func() error { return os.Remove(m + name("s")) })
	s.within("link", func() error { return os.Link(m+name("c"), m+name("l")) })
	for what, err := range map[string]error{
		"create": s.Ask("create", func() error { return os.WriteFile(m+name("x")+"x", nil, 0o644) }),
		"stat":   s.Ask("stat", func() error { _, err := os.Lstat(m + name("x") + "x"); return err }),
		"rename": s.Ask("rename", func() error { return os.Rename(m+name("c"), m+name("x")+"x") }),
	} {
		if !isErrno(err, unix.ENAMETOOLONG) {
			s.Errorf("%s of a name of 256 bytes gives %v, want ENAMETOOLONG", what, err)
		}
	}
	want := fmt.Sprint([]string{name("B"), name("c"), name("d"), name("l")})
	if got := s.names("."); got != want {
		s.Errorf("left are %s", got)
	}
	s.Unmount()
	s.Mount([]string{"l"})
	if got := s.names("."); got != want {
		s.Errorf("left after a remount are %s", got)
	}
	s.Unmount()
}

// names is the sorted list of names in a directory of the mount.
func (s *Stand) names(p string) string {
	s.Helper()
	var ents []treedump.Dirent
	s.within("readdir "+p, func() (err error) {
		ents, err = treedump.ReadDir(s.Mnt + "/" + p)
		return err
	})
	names := []string{}
	for _, e := range ents {
		names = append(names, e.Name)
	}
	return fmt.Sprint(names)
}

// everyByte: names of one byte, of each value that a name may have, and of each
// in the middle.
func everyByte(s *Stand) {
	var all []string
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		all = append(all, "x"+string([]byte{byte(b)})+"y")
		if b != '.' {
			all = append(all, string([]byte{byte(b)}))
		}
	}
	sort.Strings(all)
	for _, name := range all {
		s.Mkdir("l")
		s.must(os.WriteFile(s.Dir+"/l/"+name, []byte(name), 0o644))
	}
	s.Mount([]string{"l"})
	if got := s.names("."); got != fmt.Sprint(all) {
		s.Errorf("the mount lists %q", got)
	}
	for i, name := range all {
		p := s.Mnt + "/" + name
		switch i % 4 {
		case 0:
			s.within("append", func() error { return appendTo(p, "!") })
		case 1:
			s.within("remove", func() error { return os.Remove(p) })
		case 2:
			s.within("rename", func() error { return os.Rename(p, p+p[len(p)-1:]) })
		}
	}
	before := s.Picture()
	s.Unmount()
	s.Mount([]string{"l"})
	if d := treedump.Diff("before", before, "after the remount", s.Picture(), nil); len(d) > 0 {
		s.Errorf("a remount shows something else:\n  %s", strings.Join(d, "\n  "))
	}
	s.Unmount()
}
