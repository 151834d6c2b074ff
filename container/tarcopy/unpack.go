package tarcopy

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// Unpack puts what Pack has written at name in the tree: into it when it is a
// directory, else in its place, under that name.
func Unpack(r io.Reader, root int, name string) error {
	top, as := name, ""
	dir, err := inroot.Open(root, name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		clean := path.Clean("/" + name)
		if strings.HasSuffix(name, "/") {
			return fmt.Errorf("%s is not a directory", name)
		}
		top, as = path.Dir(clean), path.Base(clean)
		dir, err = inroot.Open(root, top, unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	t := tar.NewReader(r)
	var later []dirTime
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		target := rename(h.Name, as)
		if err := unpack(t, dir, target, h); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		if h.Typeflag == tar.TypeDir {
			later = append(later, dirTime{target, h})
		}
	}
	for i := len(later) - 1; i >= 0; i-- { // when nothing is put into them any more
		later[i].set(dir)
	}
	return nil
}

type dirTime struct {
	name string
	h    *tar.Header
}

func (d dirTime) set(root int) {
	fd, err := inroot.OpenPlain(root, d.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Fchmod(fd, uint32(d.h.Mode&0o777))
	setTime(fd, "", d.h)
}

// rename replaces the first part of a name.
func rename(name, as string) string {
	name = path.Clean("/" + name)[1:]
	if as == "" {
		return name
	}
	_, rest, _ := strings.Cut(name, "/")
	return path.Join(as, rest)
}

func setTime(at int, name string, h *tar.Header) {
	t := unix.NsecToTimespec(h.ModTime.UnixNano())
	times := []unix.Timespec{t, t}
	if name == "" {
		name = "."
	}
	_ = unix.UtimesNanoAt(at, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// unpack makes one object.
func unpack(r io.Reader, root int, name string, h *tar.Header) error {
	if name == "" || name == "." {
		return nil
	}
	// Links that came in the stream must not lead the rest of it elsewhere.
	at, err := inroot.OpenPlain(root, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	base := path.Base(name)
	mode := uint32(h.Mode & 0o777) // no set-user-ID program comes by a copy
	if h.Typeflag == tar.TypeDir {
		var st unix.Stat_t
		if unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return nil
		}
	}
	if err := unix.Unlinkat(at, base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return unix.Mkdirat(at, base, mode|0o700)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, at, base); err != nil {
			return err
		}
		setTime(at, base, h)
		return nil
	case tar.TypeFifo:
		return unix.Mkfifoat(at, base, mode)
	case tar.TypeReg:
	default:
		return nil
	}
	fd, err := unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(f, r)
	if err == nil {
		err = unix.Fchmod(fd, mode)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		setTime(at, base, h)
	}
	return err
}
