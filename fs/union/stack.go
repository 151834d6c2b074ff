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
// one layer only and no redirect possible they don't.
func (fs *FS) needsStack(upper bool, cand []uint16) bool {
	n := len(cand)
	if upper {
		n++
	}
	if n > 1 {
		return true
	}
	if !fs.follows() {
		return false
	}
	return upper || (n == 1 && !fs.layers[cand[0]].bottom)
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
	next := candidates{layers: d.cand}
	if r.Has(node.Upper) && !r.Has(node.Dead) {
		p, e := fs.dirFD(d.i, 0)
		if e != 0 {
			return e
		}
		m := fs.readMarks(p.fd)
		p.release()
		d.impure, d.xmark = m.impure, m.xwh
		if e := fs.step(&m, &next, d, 0); e != 0 {
			return e
		}
	}
	for len(next.layers) > 0 {
		b := below{layer: next.layers[0], path: next.path}
		next.layers = next.layers[1:]
		fd, e := fs.openCandidate(d, r, b, next.rel)
		if e == unix.ENOENT && (next.path != "" || next.rel != "") {
			continue
		}
		if e == unix.ENOTDIR || e == unix.ELOOP || e == unix.ENOENT {
			break // something else is in the way: it hides what is below
		}
		if e != 0 {
			return e
		}
		if next.rel != "" {
			// From here on the directory is reached by the parent's path in
			// that layer: keep it as a path of its own.
			path, e := fs.lowerPath(r.LowerParent(), b.layer)
			if e != 0 {
				sys.Close(fd)
				return e
			}
			b.path = path + next.rel
		}
		m := fs.readMarks(fd)
		b.xwh = m.xwh
		fs.fds.put(fs.key(d.i, b.layer, kindDir), fd).release()
		s = append(s, b)
		if e := fs.step(&m, &next, d, b.layer); e != 0 {
			return e
		}
	}
	d.stack.Store(&s)
	return 0
}

// candidates is where to look next.
type candidates struct {
	layers []uint16
	path   string // absolute redirect, without the leading slash
	rel    string // relative redirect: another name in the same parent
}

// step applies the marks of a directory to what is looked at below it.
func (fs *FS) step(m *marks, next *candidates, d *dir, layer uint16) syscall.Errno {
	if m.opaque {
		next.layers = nil
		return 0
	}
	if m.redirect == nil || !fs.follows() || (layer != 0 && fs.layers[layer].bottom) {
		return m.bad
	}
	path, abs, err := dialect.ParseRedirect(m.redirect)
	if err != nil {
		return unix.EINVAL
	}
	var stack []below
	if abs {
		next.path, next.rel = path[1:], ""
		stack = *fs.dirs.get(node.Root.Index()).stack.Load()
	} else {
		if next.path != "" {
			next.path = parentPath(next.path) + path
		} else {
			next.rel = path
		}
		parent := fs.dirs.get(fs.t.Rec(d.i).LowerParent())
		if parent == nil || parent.stack.Load() == nil {
			return unix.EIO
		}
		stack = *parent.stack.Load()
	}
	next.layers = nil
	for _, b := range stack {
		if b.layer > layer {
			next.layers = append(next.layers, b.layer)
		}
	}
	return 0
}

func (fs *FS) openCandidate(d *dir, r *node.Rec, b below, rel string) (int, syscall.Errno) {
	return fs.fds.open(func() (int, syscall.Errno) {
		if b.path != "" {
			return sys.OpenBeneath(fs.layers[b.layer].fd, b.path, unix.O_PATH|unix.O_DIRECTORY)
		}
		name := rel
		if name == "" {
			name = fs.t.LowerName(r)
		}
		p, e := fs.dirFD(r.LowerParent(), b.layer)
		if e != 0 {
			return -1, e
		}
		defer p.release()
		return sys.OpenDir(p.fd, name)
	})
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

func parentPath(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i+1]
		}
	}
	return ""
}

// merged says whether the directory has parts in several layers; the kernel
// reports a link count of 1 then.
func (fs *FS) merged(r *node.Rec, d *dir) bool {
	s := d.stack.Load()
	if s == nil {
		return false
	}
	n := len(*s)
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
	}
	return 0
}
