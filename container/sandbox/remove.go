package sandbox

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// listNames reads the names in an open directory.
func listNames(fd int) (names []string, err error) {
	e := sys.Rewind(fd)
	if e == 0 {
		e = sys.ReadDir(fd, make([]byte, 32<<10), func(name string, _ uint64, _ uint8) bool {
			names = append(names, strings.Clone(name))
			return true
		})
	}
	if e != 0 {
		return nil, e
	}
	return names, nil
}

func splitNul(list []byte) (names []string) {
	for _, n := range bytes.Split(list, []byte{0}) {
		if len(n) > 0 {
			names = append(names, string(n))
		}
	}
	return names
}

// remove deletes (dirfd, name) and what is in it, never across a mount point,
// and never a protected path: the directories that lead to one stay. p is its
// path from the root.
func (v *View) remove(dirfd int, name, p string) error {
	e := sys.Unlink(dirfd, name)
	if e == unix.EISDIR || e == unix.EPERM {
		_, err := v.removeDir(dirfd, name, p)
		return err
	}
	return removeError(p, e)
}

func removeError(p string, e syscall.Errno) error {
	switch e {
	case 0, unix.ENOENT:
		return nil
	case unix.EBUSY:
		return fmt.Errorf("removing %s: something is mounted on it", Quote(p))
	}
	return fmt.Errorf("removing %s: %w", Quote(p), e)
}

// removeDir is remove for a directory; whole is false when something in it
// stayed because it is protected.
func (v *View) removeDir(dirfd int, name, p string) (whole bool, err error) {
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e == unix.ENOTDIR {
		return true, removeError(p, unix.EPERM)
	}
	if e != 0 {
		return false, removeError(p, e)
	}
	defer sys.Close(fd)
	if a, b := sys.MountID(dirfd, ""), sys.MountID(fd, ""); a != b {
		return false, removeError(p, unix.EBUSY)
	}
	names, err := listNames(fd)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", Quote(p), err)
	}
	whole = true
	for _, n := range names {
		sub := path.Join(p, n)
		if _, ok := v.Protected[sub]; ok {
			whole = false
			continue
		}
		e := sys.Unlink(fd, n)
		if e == unix.EISDIR || e == unix.EPERM {
			all, err := v.removeDir(fd, n, sub)
			if err != nil {
				return false, err
			}
			whole = whole && all
			continue
		}
		if err := removeError(sub, e); err != nil {
			return false, err
		}
		fail.Point("sandbox.removed")
	}
	if !whole {
		return false, nil
	}
	return true, removeError(p, sys.Rmdir(dirfd, name))
}

// mountBelow gives the first path at or below (dirfd, name) that something is
// mounted on, "" for none.
func mountBelow(dirfd int, name, p string, v *View) string {
	if a, b := sys.MountID(dirfd, ""), sys.MountID(dirfd, name); b != 0 && a != b {
		return p
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return "" // no directory, or one that removing will complain about
	}
	defer sys.Close(fd)
	names, err := listNames(fd)
	if err != nil {
		return ""
	}
	for _, n := range names {
		sub := path.Join(p, n)
		if _, ok := v.Protected[sub]; ok {
			continue
		}
		if at := mountBelow(fd, n, sub, v); at != "" {
			return at
		}
	}
	return ""
}
