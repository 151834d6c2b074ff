package fstest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Look says what a snapshot of a tree takes in beside names, types, modes,
// owners, sizes, contents, symlink targets and device numbers.
type Look uint

// The parts of a snapshot.
const (
	WithTimes Look = 1 << iota // mtime
	WithCtime
	WithIno
	WithNlink // of what is not a directory
	WithXattrs
	WithoutData
)

// Snapshot describes every object below dir, keyed by its path. It walks by
// descriptors, so depth is no limit, and follows nothing.
func Snapshot(dir string, what Look) (map[string]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", dir, err)
	}
	out := map[string]string{}
	if out["."], err = describe(fd, ".", what); err == nil {
		err = walk(fd, ".", what, out)
	} else {
		unix.Close(fd)
	}
	return out, err
}

// walk closes fd.
func walk(fd int, at string, what Look, out map[string]string) error {
	f := os.NewFile(uintptr(fd), at)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("readdir %s: %w", at, err)
	}
	for _, name := range names {
		p := path.Join(at, name)
		if _, twice := out[p]; twice {
			return fmt.Errorf("readdir %s: the name %q twice", at, name)
		}
		d, err := describe(fd, name, what)
		if err != nil {
			return fmt.Errorf("%.300s: %w", p, err)
		}
		out[p] = d
		if !strings.HasPrefix(d, "dir ") {
			continue
		}
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EACCES) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if err := walk(sub, p, what, out); err != nil {
			return err
		}
	}
	return nil
}

var typeNames = map[uint32]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo",
	unix.S_IFSOCK: "socket", unix.S_IFCHR: "char", unix.S_IFBLK: "block",
}

func describe(dirfd int, name string, what Look) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", fmt.Errorf("stat: %w", err)
	}
	typ := st.Mode & unix.S_IFMT
	var b strings.Builder
	fmt.Fprintf(&b, "%s %04o %d:%d", typeNames[typ], st.Mode&0o7777, st.Uid, st.Gid)
	switch typ {
	case unix.S_IFREG:
		fmt.Fprintf(&b, " size=%d", st.Size)
		if what&WithoutData == 0 && st.Size > 0 {
			b.WriteString(" " + contents(dirfd, name))
		}
	case unix.S_IFLNK:
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(dirfd, name, buf)
		if err != nil {
			return "", fmt.Errorf("readlink: %w", err)
		}
		fmt.Fprintf(&b, " ->%s", buf[:n])
	case unix.S_IFCHR, unix.S_IFBLK:
		fmt.Fprintf(&b, " dev=%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if what&WithNlink != 0 && typ != unix.S_IFDIR {
		fmt.Fprintf(&b, " nlink=%d", st.Nlink)
	}
	if what&WithIno != 0 {
		fmt.Fprintf(&b, " ino=%d", st.Ino)
	}
	if what&WithTimes != 0 {
		fmt.Fprintf(&b, " mtime=%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	if what&WithCtime != 0 {
		fmt.Fprintf(&b, " ctime=%d.%09d", st.Ctim.Sec, st.Ctim.Nsec)
	}
	if what&WithXattrs != 0 {
		x, err := xattrsOf(fmt.Sprintf("/proc/self/fd/%d/%s", dirfd, name))
		if err != nil {
			return "", err
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			fmt.Fprintf(&b, " %s=%q", k, short(x[k]))
		}
	}
	return b.String(), nil
}

func short(s string) string {
	if len(s) <= 80 {
		return s
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:16]
}

func contents(dirfd int, name string) string {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "unreadable"
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unreadable" // a server that isn't asked at open(2) refuses the read
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:16]
}

// xattrsOf reads all extended attributes of the object at p itself.
func xattrsOf(p string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EACCES) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listxattr: %w", err)
	}
	out := map[string]string{}
	val := make([]byte, 64<<10)
	for _, k := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if k == "" {
			continue
		}
		n, err := unix.Lgetxattr(p, k, val)
		if err != nil {
			return nil, fmt.Errorf("getxattr %s (that listxattr named): %w", k, err)
		}
		out[k] = string(val[:n])
	}
	return out, nil
}

// Diff lists what differs between two snapshots; "" means nothing.
func Diff(aName string, a map[string]string, bName string, b map[string]string) string {
	const most = 40
	var out []string
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		x, inA := a[p]
		y, inB := b[p]
		if inA && inB && x == y {
			continue
		}
		if !inA {
			x = "(absent)"
		}
		if !inB {
			y = "(absent)"
		}
		if len(p) > 300 {
			p = p[:100] + "…" + p[len(p)-150:]
		}
		out = append(out, fmt.Sprintf("%s\n  %-8s %s\n  %-8s %s", p, aName, x, bName, y))
	}
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("… and %d more", len(out)-most))
	}
	return strings.Join(out, "\n")
}
