package union

import (
	"strings"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// kindMeta is a cached descriptor of the directory that holds the data of a
// redirected metacopy file.
const kindMeta = 2

// metaPaths are the places of data that a metacopy file with a redirect names:
// the kernel writes those when such a file is renamed; we never do. They can
// be read again from the file.
type metaPaths struct {
	mu sync.RWMutex
	m  map[node.ID]string
}

func (p *metaPaths) get(id node.ID) string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.m[id]
}

func (p *metaPaths) set(id node.ID, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if path == "" {
		delete(p.m, id)
		return
	}
	if p.m == nil {
		p.m = map[node.ID]string{}
	}
	p.m[id] = path
}

// readsMeta says whether overlay.metacopy is followed: the kernel does not
// accept it in a userxattr mount.
func (fs *FS) readsMeta() bool { return fs.ns == dialect.NSTrusted || fs.o.Metacopy }

// findData finds where the data of a metacopy file is. Without any it is EIO:
// the zeros of the empty file must never be served.
//
// Analogous to fs/overlayfs/namei.c:ovl_lookup() for metacopy.
func (fs *FS) findData(d *dir, name string, dirfd int, f *found) syscall.Errno {
	meta, mark, e := fs.metaMarks(dirfd, name)
	if e != 0 || !meta {
		return e
	}
	c := chase{name: name, data: true}
	if mark != nil {
		if !fs.follows() {
			return unix.EPERM
		}
		if _, e := c.redirect("", mark, ""); e != 0 {
			return e
		}
	}
	layers := fs.layersBelow(&c, d, f.layer)
	for len(layers) > 0 && !c.stop {
		n := layers[0]
		layers = layers[1:]
		if e := fs.seekData(&c, d, n, f); e != 0 || f.meta {
			return e
		}
		if c.name[0] == '/' {
			layers = fs.layersBelow(&c, d, n)
		}
	}
	return unix.EIO
}

// seekData looks for the data in one more layer, and notes it in f.
func (fs *FS) seekData(c *chase, d *dir, n uint16, f *found) syscall.Errno {
	path := ""
	if c.moved {
		var e syscall.Errno
		if path, e = fs.pathIn(c, d.i, n); e != 0 {
			return e
		}
	}
	fd, _, e := fs.seek(c, d.i, n)
	if e != 0 || fd < 0 {
		return e
	}
	defer sys.Close(fd)
	if c.data {
		return 0 // it has none, either
	}
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 {
		return e
	}
	f.meta, f.data, f.path = true, n, path
	f.attr.Blocks = uint64(st.Blocks)
	return 0
}

// metaMarks reads overlay.metacopy and the redirect that may go with it.
func (fs *FS) metaMarks(dirfd int, name string) (meta bool, redirect []byte, e syscall.Errno) {
	var buf [128]byte
	n, e := sys.GetXattr(dirfd, name, fs.ns.Metacopy(), buf[:])
	if e == unix.ENODATA || e == unix.EOPNOTSUPP || e == unix.EPERM {
		return false, nil, 0
	}
	if e != 0 || dialect.ParseMetacopy(buf[:n]) != nil {
		return false, nil, unix.EIO
	}
	v, e := sys.ReadXattr(dirfd, name, fs.ns.Redirect())
	if e != 0 {
		return true, nil, 0
	}
	return true, v, 0
}

// whole refuses a file that was opened for its data and is a metacopy file
// without any. A look-up finds out where there may be data below; where
// there can't be, or it is not to be followed, only who wants the data pays
// for the question. Without the mark the file would read as zeros.
func (fs *FS) whole(fd int) syscall.Errno {
	_, e := sys.GetXattr(fd, "", fs.ns.Metacopy(), nil)
	switch {
	case e == unix.ENODATA || e == unix.EOPNOTSUPP || e == unix.EPERM || e == unix.EACCES:
		return 0
	case fs.readsMeta():
		return unix.EIO
	}
	return unix.EPERM // as the kernel answers in a userxattr mount
}

// wherePath is whereIn for redirected data.
func (fs *FS) wherePath(i uint32, layer uint16, path string) (at, syscall.Errno) {
	parent, name := parentPath(path), path
	name = name[len(parent):]
	k := fs.key(i, layer, kindMeta)
	if p, ok := fs.fds.get(k); ok {
		return at{p, name}, 0
	}
	if parent == "" {
		return at{keep(fs.layers[layer].fd), name}, 0
	}
	fd, e := fs.fds.open(func() (int, syscall.Errno) {
		return sys.OpenBeneath(fs.layers[layer].fd, strings.TrimSuffix(parent, "/"), unix.O_PATH|unix.O_DIRECTORY)
	})
	if e != 0 {
		return at{}, e
	}
	return at{fs.fds.put(k, fd), name}, 0
}

// parentPath is what leads to the last component of a path, with its slash.
func parentPath(p string) string { return p[:strings.LastIndexByte(p, '/')+1] }
