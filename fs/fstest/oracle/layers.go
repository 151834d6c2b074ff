package oracle

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Item is one object of a layer.
type Item struct {
	Path     string
	Type     uint32 // S_IFMT bits; a whiteout is S_IFCHR with Rdev 0
	Mode     uint32
	UID, GID uint32
	Time     int64 // seconds of mtime, long before treedump.Epoch
	Content  Content
	Target   string // of a symlink
	Rdev     uint64
	LinkTo   string // a hard link to this earlier path of the layer
	Opaque   string // value of the opaque xattr of a directory
	XWhite   bool   // an empty file with the whiteout xattr
	Xattrs   []Xattr
}

// Xattr is an extended attribute.
type Xattr struct{ Name, Value string }

// String is the attribute, a long value cut off.
func (x Xattr) String() string {
	if len(x.Value) > 12 {
		return fmt.Sprintf("%s=%q... (%d bytes)", x.Name, x.Value[:12], len(x.Value))
	}
	return fmt.Sprintf("%s=%q", x.Name, x.Value)
}

// Layer is a directory tree, parents first.
type Layer []Item

// Content is a file's bytes, told by a tag instead of listed.
type Content struct {
	Tag  byte
	Size int
	Hole bool // starts with a hole of 256 KiB
}

const holeSize = 256 << 10

// Bytes are the bytes that c stands for, without the hole.
func (c Content) Bytes() []byte { return pattern(c.Tag, c.Size) }

// pattern is n bytes that differ from those of another tag, and from
// themselves at another offset.
func pattern(tag byte, n int) []byte {
	b := bytes.Repeat([]byte{tag}, n)
	for i := 3; i < n; i += 7 {
		b[i] = byte(i >> 3)
	}
	return b
}

// String is one object on one line, as a failing test shows it.
func (it Item) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %04o %d:%d", short(it.Path), treedump.TypeName(it.Type), it.Mode, it.UID, it.GID)
	switch {
	case it.LinkTo != "":
		return fmt.Sprintf("%s hard link to %s", short(it.Path), short(it.LinkTo))
	case it.isWhiteout():
		return short(it.Path) + " whiteout"
	case it.XWhite:
		return short(it.Path) + " xattr whiteout"
	case it.Type == unix.S_IFREG:
		fmt.Fprintf(&b, " %d bytes of %q", it.Content.Size, it.Content.Tag)
		if it.Content.Hole {
			b.WriteString(" after a hole")
		}
	case it.Type == unix.S_IFLNK:
		fmt.Fprintf(&b, " -> %q", it.Target)
	case it.Type == unix.S_IFCHR:
		fmt.Fprintf(&b, " %d:%d", unix.Major(it.Rdev), unix.Minor(it.Rdev))
	}
	if it.Opaque != "" {
		fmt.Fprintf(&b, " opaque=%s", it.Opaque)
	}
	for _, x := range it.Xattrs {
		b.WriteString(" " + x.String())
	}
	return b.String()
}

func (it Item) isWhiteout() bool { return it.Type == unix.S_IFCHR && it.Rdev == 0 }

// Build writes the layer into the empty directory root. Times come last:
// whatever is made in a directory changes its time. prefix is that of
// overlayfs' own xattrs.
func (l Layer) Build(root, prefix string) error {
	for i := range l {
		if err := l[i].build(root, prefix); err != nil {
			return fmt.Errorf("build %s: %w", l[i], err)
		}
	}
	for i := len(l) - 1; i >= 0; i-- {
		it := &l[i]
		if it.LinkTo != "" {
			continue
		}
		ts := unix.NsecToTimespec(it.Time*1e9 + 123456789)
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path.Join(root, it.Path), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("time of %s: %w", it, err)
		}
	}
	ts := unix.NsecToTimespec(time.Unix(1e9, 0).UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, root, []unix.Timespec{ts, ts}, 0)
}

func (it *Item) build(root, prefix string) error {
	full := path.Join(root, it.Path)
	if err := it.make(root, full); err != nil || it.LinkTo != "" || it.isWhiteout() {
		return err
	}
	if err := unix.Lchown(full, int(it.UID), int(it.GID)); err != nil {
		return err
	}
	if it.Type != unix.S_IFLNK {
		if err := unix.Chmod(full, it.Mode); err != nil {
			return err
		}
	}
	xattrs := it.Xattrs
	if it.Opaque != "" {
		xattrs = append(xattrs[:len(xattrs):len(xattrs)], Xattr{prefix + "opaque", it.Opaque})
	}
	if it.XWhite {
		xattrs = []Xattr{{prefix + "whiteout", ""}}
	}
	for _, x := range xattrs {
		if err := unix.Lsetxattr(full, x.Name, []byte(x.Value), 0); err != nil {
			return fmt.Errorf("xattr %s: %w", x.Name, err)
		}
	}
	return nil
}

func (it *Item) make(root, full string) error {
	if it.LinkTo != "" {
		return unix.Link(path.Join(root, it.LinkTo), full)
	}
	switch it.Type {
	case unix.S_IFDIR:
		return unix.Mkdir(full, 0o755)
	case unix.S_IFLNK:
		return unix.Symlink(it.Target, full)
	case unix.S_IFREG:
		return it.writeContent(full)
	}
	return unix.Mknod(full, it.Type|0o600, int(it.Rdev))
}

func (it *Item) writeContent(full string) error {
	fd, err := unix.Open(full, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var off int64
	if it.Content.Hole {
		off = holeSize
	}
	if it.Content.Size == 0 {
		return unix.Ftruncate(fd, off)
	}
	_, err = unix.Pwrite(fd, it.Content.Bytes(), off)
	return err
}
