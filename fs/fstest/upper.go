package fstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// upperList is what the case's directory holds in the upper, each object as
// a letter for its kind and its path:
//
//	w whiteout   d directory   o opaque directory   f file   l symlink
//	p fifo       s socket      c, b device
func (e *Env) upperList() []string {
	e.T.Helper()
	root := e.Upper("")
	list := []string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) && p == root {
				return filepath.SkipDir
			}
			return err
		}
		if p != root {
			rel, _ := filepath.Rel(root, p)
			list = append(list, e.upperKind(rel)+" "+rel)
		}
		return nil
	})
	e.ok(err)
	slices.Sort(list)
	return list
}

// upperKind is the letter of an object of the upper, "-" when there is none.
func (e *Env) upperKind(name string) string {
	e.T.Helper()
	p := e.Upper(name)
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return "-"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		buf := make([]byte, 8)
		n, err := unix.Lgetxattr(p, e.Variant.prefix()+"opaque", buf)
		if err == nil && string(buf[:n]) == "y" {
			return "o"
		}
		return "d"
	case unix.S_IFREG:
		return "f"
	case unix.S_IFLNK:
		return "l"
	case unix.S_IFIFO:
		return "p"
	case unix.S_IFSOCK:
		return "s"
	case unix.S_IFCHR:
		if st.Rdev == 0 {
			return "w"
		}
		return "c"
	case unix.S_IFBLK:
		return "b"
	}
	return "?"
}

// wantUpper asserts exactly what the upper holds for the case. On a plain
// directory it asserts nothing.
func (e *Env) wantUpper(want ...string) {
	e.T.Helper()
	if !e.Union {
		return
	}
	slices.Sort(want)
	if want == nil {
		want = []string{}
	}
	got := e.upperList()
	if slices.Contains(e.Variant.Options, "redirect_dir=on") {
		// A new directory is opaque there, which saves look-ups.
		for i := range got {
			if d, ok := strings.CutPrefix(got[i], "o "); ok && slices.Contains(want, "d "+d) {
				got[i] = "d " + d
			}
		}
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		e.T.Fatalf("the upper holds %q, want %q", got, want)
	}
}

// wantKind asserts one object of the upper.
func (e *Env) wantKind(name, kind string) {
	e.T.Helper()
	if !e.Union {
		return
	}
	if got := e.upperKind(name); got != kind {
		e.T.Fatalf("the upper has kind %q at %s, want %q", got, name, kind)
	}
}
