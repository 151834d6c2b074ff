package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// redirectMax is the longest redirect that the kernel writes (its redirect_max);
// a longer path is copied up instead.
const redirectMax = 256

// redirects says whether a renamed lower directory is found again by a
// redirect xattr.
func (fs *FS) redirects() bool { return fs.o.Redirect == layer.RedirectOn }

// prepareDir makes a directory one that can be renamed in the upper layer: with
// redirect_dir=on its upper part is enough, otherwise everything in it is
// copied up in place, which changes nothing in the view, and then it is cut
// off from its lowers.
func (fs *FS) prepareDir(id node.ID) syscall.Errno {
	if e := fs.upDir(id.Index()); e != 0 {
		return e
	}
	fs.renameMu.RLock()
	d := fs.dirs.get(id.Index())
	e := fs.rlock(d)
	long := false
	if e == 0 {
		s := *d.stack.Load()
		d.mu.RUnlock()
		if len(s) == 0 {
			fs.renameMu.RUnlock()
			return 0
		}
		path, e := fs.seekPath(id.Index())
		long = e != 0 || len(path) > redirectMax
		if fs.redirects() && !long {
			fs.renameMu.RUnlock()
			return 0
		}
	}
	fs.renameMu.RUnlock()
	if e != 0 {
		return e
	}
	left := fs.o.RenameLimit
	if left == 0 {
		left = layer.DefaultRenameLimit
	}
	if e := fs.treeSize(id, &left); e != 0 {
		return e
	}
	return fs.upTree(id)
}

// setRedirect writes where the lowers of a directory are. The path is from the
// root of the layers, as the kernel writes it across directories.
func (fs *FS) setRedirect(d *dir, fd int) syscall.Errno {
	path, e := fs.seekPath(d.i)
	if e != 0 {
		return e
	}
	if len(path) > redirectMax {
		return unix.EXDEV
	}
	e = fs.quota.around(fd, "", func() syscall.Errno { return sys.SetXattr(fd, "", fs.ns.Redirect(), []byte(path), 0) })
	if e == 0 {
		fail.Point("rename.redirect")
		d.redirect = path
	}
	return e
}

// each visits the children of a directory with no lock held, each looked up for the
// time of the call.
func (fs *FS) each(id node.ID, fn func(name string, e *Entry) syscall.Errno) syscall.Errno {
	var names []string
	fs.renameMu.RLock()
	d, e := fs.rlockDir(id)
	if e == 0 {
		d.ix.All(func(ent *index.Entry, name string) bool {
			if ent.Visible() {
				names = append(names, string([]byte(name)))
			}
			return true
		})
		d.mu.RUnlock()
	}
	fs.renameMu.RUnlock()
	if e != 0 {
		return e
	}
	for _, n := range names {
		var ent Entry
		e := fs.Lookup(id, n, &ent)
		if e == unix.ENOENT {
			continue
		}
		if e != 0 {
			return e
		}
		e = fn(n, &ent)
		fs.Forget(ent.Node, 1)
		if e != 0 {
			return e
		}
	}
	return 0
}

// treeSize answers EXDEV when copying the tree up would take more than is
// left: mv(1) then copies itself, and says what it does.
func (fs *FS) treeSize(id node.ID, left *uint64) syscall.Errno {
	return fs.each(id, func(_ string, e *Entry) syscall.Errno {
		r := fs.t.Get(e.Node)
		if r.Has(node.Dir) {
			if *left < 4096 {
				return unix.EXDEV
			}
			*left -= 4096
			return fs.treeSize(e.Node, left)
		}
		cost := uint64(4096)
		if !r.Has(node.Upper) {
			cost += min(e.Attr.Size, e.Attr.Blocks*512)
		}
		if *left < cost {
			return unix.EXDEV
		}
		*left -= cost
		return 0
	})
}

// upTree copies up everything below a directory and makes each directory
// opaque when it is complete: at every moment the view is the same, times of
// directories included.
func (fs *FS) upTree(id node.ID) syscall.Errno {
	e := fs.each(id, func(name string, e *Entry) syscall.Errno {
		if fs.t.Get(e.Node).Has(node.Dir) {
			if e := fs.upDir(e.Node.Index()); e != 0 {
				return e
			}
			return fs.upTree(e.Node)
		}
		if e := fs.copyUp(e.Node, wholeFile, false); e != 0 {
			return e
		}
		return fs.nameUpIn(id, name, e.Node)
	})
	if e != 0 {
		return e
	}
	return fs.cutOff(id)
}

// nameUpIn is nameUp with no lock held.
func (fs *FS) nameUpIn(parent node.ID, name string, id node.ID) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, e := fs.lockDir(parent)
	if e != 0 {
		return e
	}
	defer d.mu.Unlock()
	s := side{d: d, name: name, id: id, ent: d.ix.Find(name)}
	if s.ent == nil || !s.ent.Visible() || s.ent.Upper != index.None {
		return 0
	}
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	s.fd = p.fd
	return fs.unseen(p.fd, func() syscall.Errno { return fs.nameUp(&s) })
}

// cutOff makes a directory opaque whose visible names are all in the upper
// layer, and takes the whiteouts out of it.
func (fs *FS) cutOff(id node.ID) syscall.Errno {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	d, e := fs.lockDir(id)
	if e != 0 {
		return e
	}
	defer d.mu.Unlock()
	if len(*d.stack.Load()) == 0 {
		return 0
	}
	whole := true
	var whiteouts []string
	d.ix.All(func(ent *index.Entry, name string) bool {
		switch {
		case ent.Upper == index.Whiteout:
			whiteouts = append(whiteouts, string([]byte(name)))
		case ent.Upper == index.None && ent.HasLower():
			whole = false
		}
		return whole
	})
	if !whole {
		return unix.EAGAIN // a live lower got something new
	}
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	if e := fs.quota.around(p.fd, "", func() syscall.Errno { return fs.setOpaque(p.fd) }); e != 0 {
		return e
	}
	e = fs.unseen(p.fd, func() syscall.Errno {
		for _, n := range whiteouts {
			fail.Point("cutoff.whiteout")
			if e := fs.dropWhiteout(p.fd, n); e != 0 && e != unix.ENOENT {
				return e
			}
		}
		return 0
	})
	if e != 0 {
		return e
	}
	d.ix.CutOff()
	fs.cutStack(d)
	return 0
}
