package union

import (
	"strconv"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// dirFD is an O_PATH descriptor of a directory in one of its layers.
// Precondition: fs.renameMu is held (either way), so no directory moves.
//
// It opens by name from the parent's descriptor, which is cached, so no path
// is ever joined and a path may be longer than PATH_MAX.
func (fs *FS) dirFD(i uint32, layer uint16) (pinned, syscall.Errno) {
	if node.ID(i) == node.Root {
		return keep(fs.layers[layer].fd), 0
	}
	k := fs.key(i, layer, kindDir)
	if p, ok := fs.fds.get(k); ok {
		return p, 0
	}
	r := fs.t.Rec(i)
	if layer == 0 {
		if r.Has(node.Dead) {
			if fd := fs.dirs.get(i).dead.Load(); fd >= 0 {
				return keep(int(fd)), 0
			}
			return pinned{}, unix.ENOENT
		}
		return fs.openDirAt(k, r.Parent(), 0, fs.t.Name(r))
	}
	if d := fs.dirs.get(i); d != nil {
		if path := d.lowerAt(layer); path != "" {
			return fs.openRedirected(k, below{layer: layer, path: path})
		}
	}
	return fs.openDirAt(k, r.LowerParent(), layer, fs.t.LowerName(r))
}

func (fs *FS) openDirAt(k fdKey, parent uint32, layer uint16, name string) (pinned, syscall.Errno) {
	p, e := fs.dirFD(parent, layer)
	if e != 0 {
		return pinned{}, e
	}
	fd, e := fs.fds.open(func() (int, syscall.Errno) { return sys.OpenDir(p.fd, name) })
	p.release()
	if e != 0 {
		return pinned{}, e
	}
	return fs.fds.put(k, fd), 0
}

func (fs *FS) openRedirected(k fdKey, b below) (pinned, syscall.Errno) {
	root := fs.layers[b.layer].fd
	fd, e := fs.fds.open(func() (int, syscall.Errno) {
		return sys.OpenBeneath(root, b.path, unix.O_PATH|unix.O_DIRECTORY)
	})
	if e != 0 {
		return pinned{}, e
	}
	return fs.fds.put(k, fd), 0
}

// at is where a node's object is: a name in a directory, or with an empty name
// the directory descriptor itself.
type at struct {
	dir  pinned
	name string
}

func (a at) release() { a.dir.release() }

// where is the place of a node's object in its layer. Preconditions:
// fs.renameMu and the node's loc are held; the result is good for as long.
func (fs *FS) where(i uint32, r *node.Rec) (at, syscall.Errno) {
	return fs.whereIn(i, r, r.Layer)
}

// whereIn is where for another layer that has a part of the object: the data
// of a metacopy file.
func (fs *FS) whereIn(i uint32, r *node.Rec, layer uint16) (at, syscall.Errno) {
	switch {
	case node.ID(i) == node.Root:
		return at{dir: keep(fs.layers[layer].fd)}, 0
	case r.Has(node.Dir):
		// A directory is reached through its own descriptor: it is likely to
		// be cached, and it stays good when the directory is removed.
		p, e := fs.dirFD(i, layer)
		return at{dir: p}, e
	case layer == 0 && r.Has(node.Indexed):
		return at{keep(fs.work.index), fs.indexName(node.Link{Layer: r.OLayer, Ino: r.OKey})}, 0
	case layer == 0 && r.Has(node.Orphan):
		return at{keep(fs.work.tmp), orphanName(fs.t.ID(i))}, 0
	case layer == 0:
		p, e := fs.dirFD(r.Parent(), 0)
		return at{p, fs.t.Name(r)}, e
	default:
		if r.Has(node.Meta) && layer == r.Data {
			if path := fs.metaPaths.get(fs.t.ID(i)); path != "" {
				return fs.wherePath(i, layer, path)
			}
		}
		p, e := fs.dirFD(r.LowerParent(), layer)
		return at{p, fs.t.LowerName(r)}, e
	}
}

const orphanPrefix = "#o"

// orphanName is the name in the work directory of an object that has lost its
// place: it depends on the node's id alone, so a later server finds it.
func orphanName(id node.ID) string { return orphanPrefix + strconv.FormatUint(uint64(id), 16) }

// view calls fn with the place of the node's object, under the locks that keep
// it there. fn must not take locks of the union.
func (fs *FS) view(id node.ID, fn func(i uint32, r *node.Rec, a at) syscall.Errno) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	l := fs.loc(id.Index())
	l.RLock()
	defer l.RUnlock()
	return fs.visit(id, fn)
}

// change is view with the node's loc held for writing: fn may change the
// record.
func (fs *FS) change(id node.ID, fn func(i uint32, r *node.Rec, a at) syscall.Errno) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	l := fs.loc(id.Index())
	l.Lock()
	defer l.Unlock()
	return fs.visit(id, fn)
}

func (fs *FS) visit(id node.ID, fn func(i uint32, r *node.Rec, a at) syscall.Errno) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil {
		return unix.ESTALE
	}
	i := id.Index()
	a, e := fs.where(i, r)
	if e != 0 {
		return e
	}
	defer a.release()
	return fn(i, r, a)
}
