package fstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// builder writes layers in the form that the one who runs the case may write.
type builder struct {
	xattr    string // prefix of the overlay xattrs: "trusted.overlay." or "user.overlay."
	override bool   // owners, modes and devices as user.containers.override_stat
}

const overrideXattr = "user.containers.override_stat"

// layer writes t below dir, which is made when it isn't there.
func (b builder) layer(dir string, t Tree) error {
	paths := t.paths()
	for _, p := range paths {
		if err := b.node(dir, p, t[p]); err != nil {
			return fmt.Errorf("layer %s: %s: %w", dir, p, err)
		}
	}
	// Modes and times of directories come last: what is made in them
	// would change their times, and a mode may keep us out.
	for i := len(paths) - 1; i >= 0; i-- {
		n := t[paths[i]]
		if n.isDir() {
			if err := b.meta(filepath.Join(dir, paths[i]), n); err != nil {
				return fmt.Errorf("layer %s: %s: %w", dir, paths[i], err)
			}
		}
	}
	return nil
}

func (b builder) node(dir, p string, n Node) error {
	full := filepath.Join(dir, p)
	if n.raw {
		return unix.Mknod(full, n.Mode, 0)
	}
	if n.isDir() {
		if err := os.MkdirAll(full, 0o755); err != nil {
			return err
		}
		if n.opaque {
			return unix.Setxattr(full, b.xattr+"opaque", []byte("y"), 0)
		}
		return nil
	}
	switch {
	case n.white:
		return unix.Mknod(full, unix.S_IFCHR, 0)
	case n.hard:
		return os.Link(filepath.Join(dir, n.Target), full)
	}
	switch typ := n.Mode & unix.S_IFMT; {
	case typ == unix.S_IFREG && n.Data == "" && n.Hole == 0:
		if err := unix.Mknod(full, unix.S_IFREG|0o644, 0); err != nil {
			return err
		}
	case typ == unix.S_IFREG, b.override && (typ == unix.S_IFCHR || typ == unix.S_IFBLK):
		if err := writeFile(full, n); err != nil {
			return err
		}
	case typ == unix.S_IFLNK:
		if err := os.Symlink(n.Target, full); err != nil {
			return err
		}
	default:
		if err := unix.Mknod(full, n.Mode, int(n.Rdev)); err != nil {
			return err
		}
	}
	return b.meta(full, n)
}

func writeFile(full string, n Node) error {
	f, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(n.Data), n.Hole)
	return err
}

// meta sets owner, mode, xattrs and times; the mode after the owner, since a
// chown clears suid bits, and capabilities after both.
func (b builder) meta(full string, n Node) error {
	sym := n.Mode&unix.S_IFMT == unix.S_IFLNK
	fake := b.override && (n.isDir() || n.Mode&unix.S_IFMT == unix.S_IFREG || n.Rdev != 0)
	if fake {
		if err := unix.Lsetxattr(full, overrideXattr, []byte(overrideValue(n)), 0); err != nil {
			return err
		}
		bits := n.Mode&0o777 | 0o600
		if n.isDir() {
			bits |= 0o700
		}
		if err := os.Chmod(full, os.FileMode(bits)); err != nil {
			return err
		}
	} else {
		if n.UID != 0 || n.GID != 0 {
			if err := os.Lchown(full, n.UID, n.GID); err != nil {
				return err
			}
		}
		if !sym && n.Mode&0o7777 != 0o644 {
			if err := unix.Chmod(full, n.Mode&0o7777); err != nil {
				return err
			}
		}
	}
	for k, v := range n.Xattr {
		if err := unix.Lsetxattr(full, k, []byte(v), 0); err != nil {
			return fmt.Errorf("xattr %s: %w", k, err)
		}
	}
	ns := n.Mtime
	if ns == 0 {
		ns = defaultMtime
	}
	ts := unix.NsecToTimespec(ns)
	return unix.UtimesNanoAt(unix.AT_FDCWD, full, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// overrideValue is containers/storage's idtools.FormatContainersOverrideXattrDevice.
func overrideValue(n Node) string {
	typ := "file"
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		typ = "dir"
	case unix.S_IFCHR:
		typ = fmt.Sprintf("char-%d-%d", unix.Major(n.Rdev), unix.Minor(n.Rdev))
	case unix.S_IFBLK:
		typ = fmt.Sprintf("block-%d-%d", unix.Major(n.Rdev), unix.Minor(n.Rdev))
	}
	return fmt.Sprintf("%d:%d:0%o:%s", n.UID, n.GID, n.Mode&0o7777, typ)
}

// slug is a case's directory name: its family and name without what a shell
// or an overlay option would trip over.
func slug(c *Case) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, c.Family+"."+c.Name)
	return s[:min(len(s), 90)]
}
