package ship

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes directories that an archive only implies look as they do in the
// layers below, the nearest first; where there are none, they are root's.
func adopt(fs string, names, parents []string) error {
	slices.Sort(names)
	for _, name := range slices.Backward(names) { // a directory after what is in it: times
		dir, ok := within(fs, name)
		if !ok {
			continue
		}
		for _, p := range parents {
			below, ok := within(p, name)
			if ok {
				if err := copyLook(dir, below); err != nil {
					return err
				}
				break
			}
			if _, err := os.Lstat(below); err == nil { // deleted or replaced there
				break
			}
		}
	}
	return nil
}

func copyLook(dir, below string) error {
	var st unix.Stat_t
	if err := unix.Lstat(below, &st); err != nil {
		return err
	}
	if err := unix.Lchown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return &os.PathError{Op: "chown", Path: dir, Err: err}
	}
	if err := unix.Chmod(dir, st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(below, list)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return &os.PathError{Op: "listxattr", Path: below, Err: err}
	}
	for name := range strings.SplitSeq(string(list[:max(n, 0)]), "\x00") {
		if name == "" || strings.Contains(name, ".overlay.") || strings.HasPrefix(name, "trusted.") || name == "security.selinux" {
			continue
		}
		v := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(below, name, v)
		if err == nil {
			err = unix.Lsetxattr(dir, name, v[:n], 0)
		}
		if err != nil {
			return &os.PathError{Op: "copy " + name, Path: dir, Err: err}
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// dig makes the zeros of a file into holes: the archive had them as such, and
// unpacking wrote them out.
func dig(fs, name string) error {
	dir, ok := within(fs, filepath.Dir(name))
	if filepath.Dir(name) == "." {
		dir, ok = fs, true
	}
	if !ok {
		return nil
	}
	path := filepath.Join(dir, filepath.Base(name))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // replaced by something that comes later
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	buf, zero := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if n > 0 && bytes.Equal(buf[:n], zero[:n]) {
			if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(n)); err != nil {
				return nil // a file system without holes
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{unix.Timespec(st.Atim), unix.Timespec(st.Mtim)}, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != nil {
			return err
		}
	}
}
