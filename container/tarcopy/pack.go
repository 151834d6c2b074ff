package tarcopy

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// Pack writes what lies at name in the tree to w, called by the last part of
// its name.
func Pack(w io.Writer, root int, name string) error {
	dir, err := inroot.Open(root, path.Dir(path.Clean("/"+name)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	base := path.Base(path.Clean("/" + name))
	t := tar.NewWriter(w)
	if base == "/" {
		err = pack(t, root, ".", ".")
	} else {
		err = pack(t, dir, base, base)
	}
	if err != nil {
		return err
	}
	return t.Close()
}

// pack writes the object name of the directory at, called as.
func pack(t *tar.Writer, at int, name, as string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	h := &tar.Header{
		Name: as, Mode: int64(st.Mode & 0o7777), ModTime: time.Unix(st.Mtim.Unix()),
		Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return packFile(t, at, name, h)
	case unix.S_IFDIR:
		return packDir(t, at, name, h)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(at, name, buf)
		if err != nil {
			return fmt.Errorf("%s: %w", as, err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(buf[:n])
		return t.WriteHeader(h)
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
		return t.WriteHeader(h)
	}
	return nil // a device or a socket
}

func packFile(t *tar.Writer, at int, name string, h *tar.Header) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	f := os.NewFile(uintptr(fd), h.Name)
	defer f.Close()
	info, err := f.Stat() // of what was opened
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s was replaced while it was copied", h.Name)
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if _, err = io.CopyN(t, f, h.Size); errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s became shorter while it was copied", h.Name)
	}
	return err
}

func packDir(t *tar.Writer, at int, name string, h *tar.Header) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	f := os.NewFile(uintptr(fd), h.Name)
	defer f.Close()
	h.Typeflag = tar.TypeDir
	as := h.Name
	h.Name += "/"
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := pack(t, fd, n, path.Join(as, n)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}
