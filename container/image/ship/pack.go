package ship

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
)

// packer writes an upper directory as a layer. It reads the upper alone, so
// that its time is proportional to what was changed: what an opaque directory
// hides is one entry, whatever that is. The order is that of names, and nothing
// depends on inode numbers or the clock: the same changes give the same bytes.
type packer struct {
	tar   *tar.Writer
	upper string
	mode  layer.XattrPermissions // how owners are kept in it
	epoch *time.Time             // no time is later
	// made says that a path is there for a mount only, when it is empty.
	made func(name string) bool
	// below finds a path in the layers below; "" when they don't show it.
	below func(name string) string

	links   map[[2]uint64]string
	pending []*tar.Header // directories that have nothing in them yet
}

func (p *packer) pack() error {
	p.links = map[[2]uint64]string{}
	if err := p.directory(""); err != nil {
		return err
	}
	return p.tar.Close()
}

func (p *packer) directory(name string) error {
	entries, err := os.ReadDir(filepath.Join(p.upper, name)) // sorted
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.entry(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) entry(name string) error {
	file := filepath.Join(p.upper, name)
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: file, Err: err}
	}
	attrs, err := readXattrs(file)
	if err != nil {
		return err
	}
	typ := st.Mode & unix.S_IFMT
	if typ == unix.S_IFCHR && st.Rdev == 0 || typ == unix.S_IFREG && st.Size == 0 && hasMark(attrs, "whiteout") {
		return p.delete(name)
	}
	if strings.HasPrefix(path.Base(name), ".wh.") { // an upper where nothing else could be written
		return p.write(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}, "")
	}
	for _, mark := range []string{"redirect", "metacopy"} {
		if hasMark(attrs, mark) {
			return fmt.Errorf("%s: it is only a reference (%s) to a layer below: this upper can't be made a layer", name, mark)
		}
	}
	h, err := p.header(name, &st, attrs)
	if err != nil || h == nil {
		return err
	}
	if h.Typeflag != tar.TypeDir {
		if p.made(name) && h.Size == 0 {
			return nil
		}
		return p.write(h, file)
	}
	return p.inDirectory(name, h, string(attrs["trusted.overlay.opaque"]) == "y" || string(attrs["user.overlay.opaque"]) == "y")
}

// inDirectory writes a directory and what is in it; one that only leads to
// mount points isn't there.
func (p *packer) inDirectory(name string, h *tar.Header, opaque bool) error {
	p.pending = append(p.pending, h)
	depth := len(p.pending)
	below := p.below(name)
	if !p.made(name) || below != "" && !looksLike(h, below) {
		if err := p.flush(); err != nil {
			return err
		}
		if opaque && below != "" {
			mark := &tar.Header{Typeflag: tar.TypeReg, Name: name + "/.wh..wh..opq", Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
			if err := p.write(mark, ""); err != nil {
				return err
			}
		}
	}
	if err := p.directory(name); err != nil {
		return err
	}
	if len(p.pending) >= depth {
		p.pending = p.pending[:depth-1]
	}
	return nil
}

// looksLike says whether a directory has the owner and the mode that it has in a
// layer.
func looksLike(h *tar.Header, path string) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return false
	}
	uid, gid, mode := st.Uid, st.Gid, st.Mode
	var v [256]byte
	if n, err := unix.Lgetxattr(path, dialect.OverrideUser, v[:]); err == nil {
		if o, err := dialect.ParseOverride(v[:n]); err == nil {
			uid, gid, mode = o.UID, o.GID, o.Mode
		}
	}
	return h.Uid == int(uid) && h.Gid == int(gid) && h.Mode == int64(mode&0o7777)
}

func (p *packer) flush() error {
	for _, h := range p.pending {
		if err := p.tar.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	p.pending = nil
	return nil
}

func (p *packer) delete(name string) error {
	return p.write(&tar.Header{
		Typeflag: tar.TypeReg, Name: path.Join(path.Dir(name), ".wh."+path.Base(name)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}, "")
}

// write writes an entry, with the content of file if that is one with any.
func (p *packer) write(h *tar.Header, file string) error {
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return nil
	}
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	n, err := io.Copy(p.tar, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = errors.New("it shrank while it was read")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// header describes an object; nil for what no archive holds.
func (p *packer) header(name string, st *unix.Stat_t, attrs map[string][]byte) (*tar.Header, error) {
	mode, rdev := st.Mode, uint64(st.Rdev)
	uid, gid := st.Uid, st.Gid
	if p.mode != layer.XattrPermNone {
		if o, err := dialect.ParseOverride(attrs[dialect.OverrideUser]); err == nil {
			uid, gid, mode = o.UID, o.GID, mode&unix.S_IFMT|o.Mode&0o7777
			if t := o.Mode & unix.S_IFMT; t != 0 && st.Mode&unix.S_IFMT == unix.S_IFREG {
				mode, rdev = t|mode&0o7777, o.Rdev
			}
		}
	}
	h := &tar.Header{Name: name, Uid: int(uid), Gid: int(gid), Mode: int64(mode & 0o7777), Format: tar.FormatPAX}
	h.ModTime = time.Unix(int64(st.Mtim.Sec), 0) // 32 bits on 32-bit machines
	if p.epoch != nil && h.ModTime.After(*p.epoch) {
		h.ModTime = *p.epoch
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFLNK:
		to, err := os.Readlink(filepath.Join(p.upper, name))
		if err != nil {
			return nil, err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, to
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(rdev)), int64(unix.Minor(rdev))
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, nil // a socket
	}
	if h.Typeflag != tar.TypeDir && st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := p.links[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return h, nil
		}
		p.links[key] = name
	}
	p.attributes(h, attrs)
	return h, nil
}

// attributes adds those that mean something elsewhere.
func (p *packer) attributes(h *tar.Header, attrs map[string][]byte) {
	for disk, v := range attrs {
		name, ok := dialect.DiskToClient(disk, make([]byte, 256), p.mode)
		if !ok || strings.Contains(name, ".overlay.") || strings.HasPrefix(name, overrideOf) || strings.HasPrefix(name, "user.plyfs.") {
			continue
		}
		if name != "security.capability" && !strings.HasPrefix(name, "system.posix_acl_") && !strings.HasPrefix(name, "user.") {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+strings.Clone(name)] = string(v)
	}
}

func hasMark(attrs map[string][]byte, mark string) bool {
	_, a := attrs["trusted.overlay."+mark]
	_, b := attrs["user.overlay."+mark]
	return a || b
}

// readXattrs reads all that can be read.
func readXattrs(file string) (map[string][]byte, error) {
	n, err := unix.Llistxattr(file, nil)
	if n <= 0 || err != nil {
		if err == nil || errors.Is(err, syscall.ENOTSUP) {
			return nil, nil
		}
		return nil, &os.PathError{Op: "listxattr", Path: file, Err: err}
	}
	list := make([]byte, n+256)
	if n, err = unix.Llistxattr(file, list); err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: file, Err: err}
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(file, name, v)
		if err == nil {
			out[name] = slices.Clone(v[:n])
		}
	}
	return out, nil
}
