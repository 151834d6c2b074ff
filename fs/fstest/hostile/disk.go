package hostile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// fullDisk: the upper's filesystem is full in the middle of a copy-up. The
// change fails, the old file is still there, and nothing half-made stays: not
// in the mount, not in the upper, not in the work directory.
func fullDisk(s *Stand) {
	s.small("2m")
	old := []byte(strings.Repeat("good old data, ", 8<<20/15))
	s.Mkdir("l/dir/sub")
	s.must(os.WriteFile(s.Path("l/big"), old, 0o644))
	s.must(os.WriteFile(s.Path("l/dir/sub/big"), old, 0o644))
	s.Write("l/small", "small")
	s.Mount([]string{"l"})
	for _, name := range []string{"big", "dir/sub/big"} {
		p := s.Mnt + "/" + name
		for what, do := range map[string]func() error{
			"append and fsync": func() error { return appendSync(p, "new") },
			"chmod":            func() error { return os.Chmod(p, 0o600) },
			"link":             func() error { return os.Link(p, s.Mnt+"/link") },
			"truncate to half": func() error { return os.Truncate(p, int64(len(old)/2)) },
			"rename":           func() error { return renameThenBack(p) },
		} {
			err := s.Ask(what, do)
			if what == "rename" && err == nil {
				continue // a rename that copies nothing is no fault
			}
			if !isErrno(err, unix.ENOSPC) {
				s.Errorf("%s of %s on a full disk gives %v, want ENOSPC", what, name, err)
			}
		}
	}
	s.within("a small change, which fits", func() error { return appendSync(s.Mnt+"/small", "!") })
	s.Unmount()
	for _, litter := range s.litter() {
		s.Errorf("a failed copy-up left %s", litter)
	}
	s.Mount([]string{"l"})
	for _, name := range []string{"big", "dir/sub/big"} {
		b, err := os.ReadFile(s.Mnt + "/" + name)
		if err != nil || !bytes.Equal(b, old) {
			s.Errorf("%s is not what it was: %d bytes of %d, %v", name, len(b), len(old), err)
		}
	}
	if b, err := os.ReadFile(s.Mnt + "/small"); string(b) != "small!" {
		s.Errorf("the change that fitted is lost: %q %v", b, err)
	}
	s.Unmount()
}

// fullOfInodes: no file can be made in the upper, not even a whiteout.
func fullOfInodes(s *Stand) {
	s.small("2m,nr_inodes=12")
	s.Write("l/f", "f")
	s.Write("l/d/e/f", "f")
	s.Mount([]string{"l"})
	fill := 0
	for ; fill < 20; fill++ {
		name := s.Mnt + "/fill" + string(rune('a'+fill))
		if s.Ask("fill", func() error { return os.WriteFile(name, nil, 0o644) }) != nil {
			break
		}
	}
	if fill == 20 {
		s.Fatalf("the upper has room for 20 files")
	}
	for what, do := range map[string]func() error{
		"append":        func() error { return appendSync(s.Mnt+"/d/e/f", "new") },
		"chmod":         func() error { return os.Chmod(s.Mnt+"/d/e/f", 0o600) },
		"remove deep":   func() error { return os.Remove(s.Mnt + "/d/e/f") },
		"mkdir":         func() error { return os.Mkdir(s.Mnt+"/d/e/new", 0o755) },
		"rename a tree": func() error { return os.Rename(s.Mnt+"/d", s.Mnt+"/moved") },
	} {
		if err := s.Ask(what, do); !isErrno(err, unix.ENOSPC) && !isErrno(err, unix.EXDEV) {
			s.Errorf("%s without inodes gives %v, want ENOSPC", what, err)
		}
	}
	// What could not be written back may be in the page cache until now.
	s.Unmount()
	s.Mount([]string{"l"})
	if b, err := os.ReadFile(s.Mnt + "/d/e/f"); string(b) != "f" {
		s.Errorf("the file is not what it was: %q %v", b, err)
	}
	s.Unmount()
}

// small puts the upper and the work directory on a tmpfs of their own.
func (s *Stand) small(size string) {
	dir := s.Mkdir("small")
	nsbox.Tmpfs(s.T, dir, "size="+size)
	s.Upper, s.Work = s.Mkdir("small/upper"), s.Mkdir("small/work")
}

// litter lists regular files of the upper that are bigger than what fitted,
// and all that is in the work directory.
func (s *Stand) litter() []string {
	var out []string
	tree, err := treedump.Take(s.Upper)
	s.must(err)
	for p, n := range tree.Nodes {
		if n.Type == unix.S_IFREG && p != "small" {
			out = append(out, "upper/"+p)
		}
	}
	work, err := treedump.Take(filepath.Join(s.Work, "work"))
	if err != nil {
		return out
	}
	for p := range work.Nodes {
		if p != "." {
			out = append(out, "work/work/"+p)
		}
	}
	return out
}

func appendSync(p, text string) error {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Sync()
}

func renameThenBack(p string) error {
	if err := os.Rename(p, p+"-moved"); err != nil {
		return err
	}
	return os.Rename(p+"-moved", p)
}
