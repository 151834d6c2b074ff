package look

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
)

// Dir reads a layer from its directory. skip says what isn't to be seen of it.
func Dir(name, dir string, skip func(path string, empty bool) bool) (Layer, error) {
	l := Layer{Name: name, Open: func(p string) (io.ReadCloser, error) { return openIn(dir, p) }}
	links := map[[2]uint64]bool{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file != dir {
			return nil // somebody deleted it meanwhile
		}
		if err != nil {
			return err
		}
		p := "/" + strings.TrimPrefix(file[len(dir):], "/")
		info, err := d.Info()
		if err != nil {
			return nil
		}
		e := entryOf(file, p, info, links)
		if skip != nil && skip(p, e.Size == 0) && !e.Gone {
			return nil
		}
		if base := filepath.Base(p); strings.HasPrefix(base, ".wh.") { // where no other mark could be made
			if base == ".wh..wh..opq" {
				e = Entry{Path: filepath.Dir(p), Opaque: true}
			} else {
				e = Entry{Path: filepath.Join(filepath.Dir(p), base[4:]), Gone: true}
			}
		}
		l.Entries = append(l.Entries, e)
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("layer %s: %w", name, err)
	}
	return l, nil
}

// entryOf describes an object of a directory.
func entryOf(file, p string, info fs.FileInfo, links map[[2]uint64]bool) Entry {
	st := info.Sys().(*syscall.Stat_t)
	e := Entry{Path: p, Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid)}
	var v [256]byte
	has := func(name string) []byte {
		n, err := unix.Lgetxattr(file, name, v[:])
		if err != nil {
			return nil
		}
		return v[:n]
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0,
		info.Mode().IsRegular() && info.Size() == 0 && (has("trusted.overlay.whiteout") != nil || has("user.overlay.whiteout") != nil):
		return Entry{Path: p, Gone: true}
	case info.IsDir():
		e.Opaque = string(has("trusted.overlay.opaque")) == "y" || string(has("user.overlay.opaque")) == "y"
	case info.Mode()&fs.ModeSymlink != 0:
		e.Link, _ = os.Readlink(file)
	case info.Mode().IsRegular():
		key := [2]uint64{st.Dev, st.Ino}
		if !links[key] {
			e.Size = info.Size()
		}
		links[key] = st.Nlink > 1
	}
	if o, err := dialect.ParseOverride(has(dialect.OverrideUser)); err == nil {
		e.UID, e.GID = int(o.UID), int(o.GID)
		e.Mode = e.Mode&fs.ModeType | fs.FileMode(o.Mode&0o777)
		for bit, mode := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
			if o.Mode&bit != 0 {
				e.Mode |= mode
			}
		}
	}
	return e
}

// openIn opens a regular file below a directory; nothing leads out of it, and
// nothing is waited for.
func openIn(dir, p string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(strings.TrimPrefix(p, "/"), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", p)
	}
	return f, nil
}

// Host is what a directory has under the names of another layer: of a whole
// machine, only that is read.
func Host(name, dir string, over *Layer) Layer {
	l := Layer{Name: name, Open: func(p string) (io.ReadCloser, error) { return openIn(dir, p) }}
	for i := range over.Entries {
		p := over.Entries[i].Path
		file := filepath.Join(dir, p)
		if info, err := os.Lstat(file); err == nil {
			l.Entries = append(l.Entries, entryOf(file, p, info, map[[2]uint64]bool{}))
		}
	}
	return l
}
