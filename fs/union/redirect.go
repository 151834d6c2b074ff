package union

import (
	"strings"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// chase is an object that is looked for in one layer after the other, from the
// top, under a name that the redirects found on the way may change.
//
// Analogous to fs/overlayfs/namei.c:struct ovl_lookup_data.
type chase struct {
	// name is what it is called in the next layer: a path from the layer's
	// root that begins with a slash, or a name in the same parent.
	name string
	// moved says that a redirect gave the name; in the layers below, the parent's
	// index knows nothing of it then.
	moved bool
	stop  bool // what was found hides what is below
	isDir bool // a directory was found: it merges with nothing else
	data  bool // a file is looked for, for the data of one found above
}

// redirect changes the name to what a mark on the object at prefix says. post is the rest of the path,
// with its slash, when the object is only on the way.
func (c *chase) redirect(prefix string, mark []byte, post string) (here string, e syscall.Errno) {
	path, abs, err := dialect.ParseRedirect(mark)
	if err != nil {
		return "", unix.EINVAL
	}
	if abs {
		c.stop = false // an opaque directory above it on the way counts no more
	} else {
		path = prefix + path
	}
	c.name, c.moved = path+post, true
	return path, 0
}

// layersBelow are those that are looked at next: those of the parent, or for
// a path all. parent is the lower stack of the object's parent.
func (fs *FS) layersBelow(c *chase, parent *dir, layer uint16) []uint16 {
	d := parent
	if c.name[0] == '/' {
		d = fs.dirs.get(node.Root.Index())
	}
	if d == nil || d.stack.Load() == nil {
		return nil
	}
	var out []uint16
	for _, b := range *d.stack.Load() {
		if b.layer > layer {
			out = append(out, b.layer)
		}
	}
	return out
}

// seek looks for the object in one more layer; parent is where a name that is no path
// is looked for. fd is -1 when the layer has nothing that counts. xwh is the
// directory's mark for xattr whiteouts.
//
// Analogous to fs/overlayfs/namei.c:ovl_lookup_layer().
func (fs *FS) seek(c *chase, parent uint32, layer uint16) (fd int, xwh bool, e syscall.Errno) {
	prefix, rest := "", c.name
	at := keep(fs.layers[layer].fd)
	if c.name[0] == '/' {
		prefix, rest = "/", c.name[1:]
	} else if at, e = fs.dirFD(parent, layer); e != 0 {
		return -1, false, e
	}
	fd = at.fd
	for {
		elem, post, more := strings.Cut(rest, "/")
		if more {
			post = "/" + post
		}
		next, here, m, e := fs.seekElem(c, fd, layer, prefix, elem, post)
		if fd != at.fd {
			sys.Close(fd)
		} else {
			at.release()
			at.fd = -1
		}
		if e != 0 || next < 0 || !more {
			return next, m.xwh, e
		}
		fd, prefix, rest = next, here+"/", post[1:]
	}
}

// seekElem looks for one component of the name. here is what that component
// is, with what leads to it, for the layers below.
//
// Analogous to fs/overlayfs/namei.c:ovl_lookup_single().
func (fs *FS) seekElem(c *chase, dirfd int, layer uint16, prefix, elem, post string) (fd int, here string, m marks, e syscall.Errno) {
	here = prefix + elem
	fd, e = fs.fds.open(func() (int, syscall.Errno) { return sys.Open(dirfd, elem, unix.O_PATH, 0) })
	if wh, ok := dialect.DotWhName(elem); ok && sys.Exists(dirfd, wh) {
		c.stop = true
	}
	if e == unix.ENOENT || e == unix.ENAMETOOLONG {
		return -1, here, m, 0
	}
	if e != 0 {
		return -1, here, m, e
	}
	var st sys.Stat
	if e = sys.StatFD(fd, &st); e != 0 {
		sys.Close(fd)
		return -1, here, m, e
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	isFile := st.Mode&unix.S_IFMT == unix.S_IFREG && post == "" && !c.isDir
	if !isDir && !isFile || c.data && isDir && post == "" {
		c.stop = true
		sys.Close(fd)
		return -1, here, m, 0
	}
	var mark []byte
	bottom := fs.layers[layer].bottom
	if isDir {
		c.isDir = c.isDir || post == ""
		m = fs.readMarks(fd)
		c.stop = c.stop || m.opaque
		if m.opaque || bottom {
			return fd, here, m, 0
		}
		mark, e = m.redirect, m.bad
	} else {
		var meta bool
		if meta, mark, e = fs.metaMarks(fd, ""); e == 0 && !meta {
			c.data, c.stop = false, true
			return fd, here, m, 0
		}
		if bottom {
			mark = nil
		}
	}
	if e == 0 && mark != nil {
		if !fs.follows() {
			e = unix.EPERM
		} else {
			here, e = c.redirect(prefix, mark, post)
		}
	}
	if e != 0 {
		sys.Close(fd)
		return -1, here, m, e
	}
	return fd, here, m, 0
}

// seekPath is the path, from the root of the layers, under which a directory's
// lower parts are found from the top lower on: what a redirect has to say. It
// has no slash at its end; that of the root is empty.
//
// Analogous to fs/overlayfs/dir.c:ovl_get_redirect().
func (fs *FS) seekPath(i uint32) (string, syscall.Errno) {
	path := ""
	for node.ID(i) != node.Root {
		if d := fs.dirs.get(i); d != nil && d.redirect != "" {
			return d.redirect + path, 0
		}
		r := fs.t.Rec(i)
		path = "/" + fs.t.LowerName(r) + path
		if len(path) > 1<<20 {
			return "", unix.ENAMETOOLONG
		}
		i = r.LowerParent()
	}
	return path, 0
}
