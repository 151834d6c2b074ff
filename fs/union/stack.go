package union

import (
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// follows says whether overlay.redirect is followed. The kernel does not in a
// userxattr mount (an unprivileged user could point anywhere in the lowers);
// we do when asked with redirect_dir=on: a redirect never leaves its layer.
func (fs *FS) follows() bool {
	switch fs.o.Redirect {
	case layer.RedirectNoFollow:
		return false
	case layer.RedirectOn:
		return true
	}
	return fs.ns == dialect.NSTrusted
}

// needsStack says whether the directory's attributes depend on its marks: with
// one layer only, and no redirect that is followed or refused, they don't.
func (fs *FS) needsStack(d *dir) bool {
	r := fs.t.Rec(d.i)
	layer := uint16(0)
	switch n := len(d.cand); {
	case r.Has(node.Upper) && n > 0 || n > 1:
		return true
	case !r.Has(node.Upper) && n == 1:
		layer = d.cand[0]
	}
	return fs.redirected(d, layer)
}

// redirected says whether a redirect of the directory's part in a layer
// counts: if there is nothing below, it is not looked at.
func (fs *FS) redirected(d *dir, layer uint16) bool {
	if fs.follows() {
		return !fs.layers[layer].bottom
	}
	parent := fs.dirs.get(fs.t.Rec(d.i).LowerParent())
	if parent == nil || parent.stack.Load() == nil {
		return false
	}
	s := *parent.stack.Load()
	return len(s) > 0 && s[len(s)-1].layer > layer
}

// loadStack finds the lower directories that are merged into d.
// Preconditions: fs.renameMu is held; d.mu or the parent's is.
//
// Analogous to fs/overlayfs/namei.c:ovl_lookup() for a directory.
func (fs *FS) loadStack(d *dir) syscall.Errno {
	if d.stack.Load() != nil {
		return 0
	}
	r := fs.t.Rec(d.i)
	s := []below{}
	c := chase{isDir: true}
	layers := d.cand
	if r.Has(node.Upper) && !r.Has(node.Dead) {
		p, e := fs.dirFD(d.i, 0)
		if e != 0 {
			return e
		}
		m := fs.readMarks(p.fd)
		p.release()
		d.impure, d.xmark = m.impure, m.xwh
		if e := fs.step(&c, &m, d, 0, &layers); e != 0 {
			return e
		}
		if c.moved {
			if d.redirect, e = fs.absolute(&c, r); e != 0 {
				return e
			}
		}
	}
	shared := d.base.Load()
	if c.stop || c.moved {
		d.base.Store(nil) // the upper hides the lower parts, or has others
		shared = nil
	}
	if shared != nil {
		if s := shared.parts(); s != nil {
			d.stack.Store(s)
			return 0
		}
	}
	for len(layers) > 0 && !c.stop {
		b := below{layer: layers[0]}
		layers = layers[1:]
		var e syscall.Errno
		if c.moved {
			e = fs.seekBelow(&c, r, d, &b, &layers, &s)
		} else {
			e = fs.stepBelow(&c, r, d, &b, &layers, &s)
		}
		if e != 0 {
			return e
		}
	}
	if shared != nil {
		shared.stack.Store(&s)
	}
	d.stack.Store(&s)
	return 0
}

// stepBelow adds a part that has the directory's own name, as the parent's
// index says.
func (fs *FS) stepBelow(c *chase, r *node.Rec, d *dir, b *below, layers *[]uint16, s *[]below) syscall.Errno {
	p, e := fs.dirFD(r.LowerParent(), b.layer)
	if e != 0 {
		return e
	}
	fd, e := fs.fds.open(func() (int, syscall.Errno) { return sys.OpenDir(p.fd, fs.t.LowerName(r)) })
	p.release()
	if e == unix.ENOTDIR || e == unix.ELOOP || e == unix.ENOENT {
		c.stop = true // something else is in the way: it hides what is below
		return 0
	}
	if e != 0 {
		return e
	}
	m := fs.readMarks(fd)
	b.xwh = m.xwh
	fs.fds.put(fs.key(d.i, b.layer, kindDir), fd).release()
	*s = append(*s, *b)
	return fs.step(c, &m, d, b.layer, layers)
}

// seekBelow adds a part that a redirect leads to, if the layer has one.
func (fs *FS) seekBelow(c *chase, r *node.Rec, d *dir, b *below, layers *[]uint16, s *[]below) syscall.Errno {
	path, e := fs.pathIn(c, r.LowerParent(), b.layer)
	if e != 0 {
		return e
	}
	inParent := c.name[0] != '/'
	fd, xwh, e := fs.seek(c, r.LowerParent(), b.layer)
	if e != 0 {
		return e
	}
	if fd >= 0 {
		b.xwh, b.path = xwh, path
		fs.fds.put(fs.key(d.i, b.layer, kindDir), fd).release()
		*s = append(*s, *b)
	}
	if inParent && c.name[0] == '/' {
		*layers = fs.layersBelow(c, nil, b.layer)
	}
	return 0
}

// step applies the marks of a part with the directory's own name to what is
// looked at below it.
func (fs *FS) step(c *chase, m *marks, d *dir, layer uint16, layers *[]uint16) syscall.Errno {
	switch {
	case m.opaque:
		c.stop = true
		return 0
	case m.bad != 0 || m.redirect == nil || !fs.redirected(d, layer):
		return m.bad
	case !fs.follows():
		return unix.EPERM // to show it as if it had none would show another's files
	}
	if _, e := c.redirect("", m.redirect, ""); e != 0 {
		return e
	}
	*layers = fs.layersBelow(c, fs.dirs.get(fs.t.Rec(d.i).LowerParent()), layer)
	return 0
}

// pathIn is the path in a layer, from its root, of what is looked for.
func (fs *FS) pathIn(c *chase, parent uint32, layer uint16) (string, syscall.Errno) {
	if c.name[0] == '/' {
		return c.name[1:], 0
	}
	path, e := fs.lowerPath(parent, layer)
	return path + c.name, e
}

// absolute is the name that is looked for as a path from the root.
func (fs *FS) absolute(c *chase, r *node.Rec) (string, syscall.Errno) {
	if c.name[0] == '/' {
		return c.name, 0
	}
	path, e := fs.seekPath(r.LowerParent())
	return path + "/" + c.name, e
}

// lowerPath is the path of a directory in a lower layer, with a slash at its
// end ("" for the root).
func (fs *FS) lowerPath(i uint32, layer uint16) (string, syscall.Errno) {
	path := ""
	for node.ID(i) != node.Root {
		if d := fs.dirs.get(i); d != nil {
			if at := d.lowerAt(layer); at != "" {
				return at + "/" + path, 0
			}
		}
		r := fs.t.Rec(i)
		path = fs.t.LowerName(r) + "/" + path
		if len(path) > 1<<20 {
			return "", unix.ENAMETOOLONG
		}
		i = r.LowerParent()
	}
	return path, 0
}

// merged says whether the directory has parts in several layers; the kernel
// reports a link count of 1 then.
func (fs *FS) merged(r *node.Rec, d *dir) bool {
	n := len(d.cand) // what is not loaded did not matter before a copy-up
	if s := d.stack.Load(); s != nil {
		n = len(*s)
	}
	if r.Has(node.Upper) {
		n++
	}
	return n > 1
}

// pinPaths keeps where the lower parts of a directory are, as paths in their
// layers, before its place in the merged tree changes. (Paths and not the old
// parent's node: the old parent may be moved into this very directory, and
// neither would ever be freed.) A later server reads the same from the redirect.
// Precondition: fs.renameMu is held for writing.
func (fs *FS) pinPaths(d *dir) syscall.Errno {
	for _, p := range [...]*atomic.Pointer[[]below]{&d.stack, &d.former} {
		s := p.Load()
		if s == nil || len(*s) == 0 {
			continue
		}
		fixed := slices.Clone(*s)
		for k := range fixed {
			if fixed[k].path == "" {
				path, e := fs.lowerPath(d.i, fixed[k].layer)
				if e != 0 {
					return e
				}
				fixed[k].path = path[:len(path)-1]
			}
		}
		p.Store(&fixed)
		for _, b := range fixed {
			if p == &d.former {
				fs.note(noteFormer, b.path, uint64(fs.t.ID(d.i)), uint64(b.layer))
			}
		}
	}
	return 0
}
