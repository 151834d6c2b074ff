package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// copied is a copy-up under way.
type copied struct {
	size     int64
	metaOnly bool
	layer    uint16
	st       sys.Stat
	attr     Attr
	src      int // data of a regular file (or the placeholder of a virtual one), else O_PATH of the object
	link     string
	origin   []byte
	private  []byte // origin in our own form
	upIno    uint64
	isDir    bool
	data     bool // the copy has data that must not come after its name
}

func (c *copied) close() {
	if c.src > 0 {
		sys.Close(c.src)
	}
}

// openSource opens what is copied: after this no name of the lower is used any
// more. Called under view's locks.
func (fs *FS) openSource(i uint32, r *node.Rec, w at, c *copied) (e syscall.Errno) {
	c.layer = r.Layer
	if e := sys.StatAt(w.dir.fd, w.name, &c.st); e != 0 {
		return e
	}
	if e := fs.fill(&c.attr, &c.st, r.Layer, w); e != 0 {
		return e
	}
	fs.originOf(w, c)
	typ := c.st.Mode & unix.S_IFMT
	if typ == unix.S_IFLNK {
		if c.link, e = sys.Readlink(w.dir.fd, w.name); e != 0 {
			return e
		}
	}
	flags := unix.O_PATH
	needData := typ == unix.S_IFREG && c.st.Size > 0 && c.size != 0 && !c.metaOnly
	if needData {
		if r.Has(node.Meta) {
			d, e := fs.whereIn(i, r, r.Data)
			if e != 0 {
				return e
			}
			defer d.release()
			w = d
		}
		if c.src, e = fs.openLower(w.dir.fd, w.name); e != 0 {
			return e
		}
		if e = fs.whole(c.src); e != 0 {
			sys.Close(c.src)
			c.src = -1
		}
		return e
	}
	c.isDir = typ == unix.S_IFDIR
	name := w.name
	if name == "" {
		name = "."
	}
	c.src, e = fs.fds.open(func() (int, syscall.Errno) { return sys.Open(w.dir.fd, name, flags, 0) })
	if e == unix.EACCES && w.name == "" {
		// A directory that may not be searched: "." can't be opened in it.
		n, err := unix.FcntlInt(uintptr(w.dir.fd), unix.F_DUPFD_CLOEXEC, 0)
		c.src, e = n, errnoOf(err)
	}
	return e
}

// openLower opens a lower file for reading without touching its atime.
func (fs *FS) openLower(dirfd int, name string) (int, syscall.Errno) {
	fd, e := fs.fds.open(func() (int, syscall.Errno) {
		return sys.Open(dirfd, name, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK, 0)
	})
	if e == unix.EPERM {
		fd, e = sys.Open(dirfd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	return fd, e
}
