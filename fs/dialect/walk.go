package dialect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// level is one directory on the way from the upper down to the one that is
// being read.
type level struct {
	fd       int // -1 while closed for want of descriptors
	dev, ino uint64
	pure     bool     // nothing below it is merged: it, or one above, is opaque
	xwh      bool     // empty files in it may be whiteouts
	fixes    []fix    // to be done when it has been read
	kept     bool     // a whiteout that is an xattr couldn't be replaced
	next     int64    // where to read on
	done     bool     // nothing to read on
	dirs     []string // of the last batch, not walked yet, last first
}

// The bounds on what a walk holds. Directories are read a batch at a time and
// the subdirectories of a batch are walked before the next one is read.
const (
	openLevels = 64       // descriptors
	bigBatch   = 32 << 10 // bytes of directory entries, in the upper levels
	smallBatch = 4 << 10  // and further down
)

var errMoved = errors.New("the upper changed while it was checked: unmount what uses it first")

// walk reads the tree below fd, which it closes.
func (c *checker) walk(fd int) error {
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 {
		sys.Close(fd)
		return e
	}
	c.dev, c.mount = uint64(st.Dev), sys.MountID(fd, "")
	stack := []level{{fd: fd, dev: uint64(st.Dev), ino: st.Ino}}
	defer func() {
		for i := range stack {
			if stack[i].fd >= 0 {
				sys.Close(stack[i].fd)
			}
		}
	}()
	c.enter(&stack[0], nil)
	for {
		l := &stack[len(stack)-1]
		if n := len(l.dirs); n > 0 {
			name := l.dirs[n-1]
			l.dirs = l.dirs[:n-1]
			down, ok := c.descend(l, name)
			if !ok {
				continue
			}
			if i := len(stack) - openLevels; i > 0 {
				sys.Close(stack[i].fd)
				stack[i].fd = -1
			}
			stack = append(stack, down)
			continue
		}
		if !l.done {
			c.batch(l, len(stack))
			continue
		}
		if c.mend != nil {
			c.mend.apply(l)
		}
		if len(stack) == 1 {
			return nil
		}
		if err := c.ascend(stack); err != nil {
			return err
		}
		stack = stack[:len(stack)-1]
		c.path = c.path[:len(c.path)-1]
	}
}

// batch reads one buffer of entries, looks at each and keeps the names of
// the directories among them.
func (c *checker) batch(l *level, depth int) {
	buf := c.direnv
	if depth > openLevels {
		buf = buf[:smallBatch]
	}
	if _, e := sys.Lseek(l.fd, l.next, unix.SEEK_SET); e != 0 {
		c.add("", Unreadable, SevError, e.Error())
		l.done = true
		return
	}
	n, e := sys.Getdents(l.fd, buf)
	if e != 0 {
		c.add("", Unreadable, SevError, e.Error())
	}
	if e != 0 || n <= 0 {
		l.done = true
		return
	}
	l.dirs = nil
	for p := buf[:n]; len(p) > direntName; {
		next, reclen := int64(binary.NativeEndian.Uint64(p[8:])), int(binary.NativeEndian.Uint16(p[16:]))
		if reclen <= direntName || reclen > len(p) {
			break
		}
		b, _, _ := bytes.Cut(p[direntName:reclen], []byte{0})
		l.next, p = next, p[reclen:]
		if name := string(b); name != "" && name != "." && name != ".." && c.entry(l, name) {
			l.dirs = append(l.dirs, name)
		}
	}
	for i, j := 0, len(l.dirs)-1; i < j; i, j = i+1, j-1 {
		l.dirs[i], l.dirs[j] = l.dirs[j], l.dirs[i]
	}
}

// direntName is the offset of d_name in struct linux_dirent64.
const direntName = 19

// descend opens a directory and looks at its own marks.
func (c *checker) descend(l *level, name string) (down level, ok bool) {
	fd, e := sys.Open(l.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if e == unix.ENOENT || e == unix.ENOTDIR || e == unix.ELOOP {
		return down, false // replaced meanwhile
	}
	if e != 0 {
		c.add(name, Unreadable, SevError, e.Error())
		return down, false
	}
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 || uint64(st.Dev) != c.dev || sys.MountID(fd, "") != c.mount {
		sys.Close(fd)
		c.add(name, MountPoint, SevWarning, "another mount, not looked into")
		return down, false
	}
	c.path = append(c.path, name)
	down = level{fd: fd, dev: uint64(st.Dev), ino: st.Ino}
	c.enter(&down, l)
	return down, true
}

// ascend makes sure that the level above the last one is open. Its descriptor
// may have been closed on the way down; ".." leads back, and is believed only
// when it is the directory that was left.
func (c *checker) ascend(stack []level) error {
	last, up := &stack[len(stack)-1], &stack[len(stack)-2]
	if up.fd >= 0 {
		sys.Close(last.fd)
		last.fd = -1
		return nil
	}
	fd, e := sys.Open(last.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	sys.Close(last.fd)
	last.fd = -1
	if e == 0 && up.is(fd) {
		up.fd = fd
		return nil
	}
	if e == 0 {
		sys.Close(fd)
	}
	return c.reopen(stack[:len(stack)-1])
}

// reopen opens the last level by its names, from the top: the way when ".."
// may not be searched.
func (c *checker) reopen(stack []level) error {
	fd := stack[0].fd
	for i := 1; i < len(stack); i++ {
		next, e := sys.Open(fd, c.path[i-1], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
		if fd != stack[0].fd {
			sys.Close(fd)
		}
		if e != 0 {
			return errMoved
		}
		if fd = next; !stack[i].is(fd) {
			sys.Close(fd)
			return errMoved
		}
	}
	stack[len(stack)-1].fd = fd
	return nil
}

func (l *level) is(fd int) bool {
	var st sys.Stat
	return sys.StatFD(fd, &st) == 0 && uint64(st.Dev) == l.dev && st.Ino == l.ino
}

// enter looks at the directory l itself. up is nil for the upper.
func (c *checker) enter(l, up *level) {
	c.sum.Dirs++
	var st sys.Stat
	if e := sys.StatFD(l.fd, &st); e != 0 {
		c.add("", Unreadable, SevError, e.Error())
		return
	}
	d := c.xattrs(l, "", &st)
	if sys.Exists(l.fd, DotWhOpaqueName) {
		if d.opaque {
			c.marks |= markSentinel
		} else {
			c.marks |= markDotWh
		}
		d.opaque = true
	}
	// Below an opaque directory nothing is merged, unless a redirect names
	// another place in the lower layers.
	l.pure, l.xwh = d.opaque || up != nil && up.pure && !d.redirect, d.xwh
	if c.mend != nil {
		c.mend.lookXattrs(l, "", &st)
	}
}

// join is the path of name in the directory that is being read.
func (c *checker) join(name string) string {
	switch {
	case len(c.path) == 0 && name == "":
		return "."
	case len(c.path) == 0:
		return name
	}
	p := strings.Join(c.path, "/")
	if name == "" {
		return p
	}
	return p + "/" + name
}
