package union

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// clearTarget makes way at the target: what clients have open there stays
// reachable, and a directory must be empty.
func (fs *FS) clearTarget(src, dst *side, isDir bool) syscall.Errno {
	if dst.ent.Type() != unix.DT_DIR {
		if isDir {
			return unix.ENOTDIR
		}
		return fs.keepTarget(dst)
	}
	if !isDir {
		return unix.EISDIR
	}
	c := fs.dirs.get(dst.id.Index())
	if c == src.d || c == dst.d {
		return unix.ENOTEMPTY // the source is in it
	}
	if e := fs.lock(c); e != 0 {
		return e
	}
	defer c.mu.Unlock()
	if !c.empty() {
		return unix.ENOTEMPTY
	}
	r := fs.t.Rec(dst.id.Index())
	if !r.Has(node.Upper) {
		return 0
	}
	p, e := fs.dirFD(c.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	if !c.bare() {
		// Whiteouts hide what is below; once the directory is opaque they
		// hide nothing and can go.
		if e := fs.quota.around(p.fd, "", func() syscall.Errno { return fs.setOpaque(p.fd) }); e != 0 {
			return e
		}
		fail.Point("rename.opaque")
		fd, e := sys.Open(p.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != 0 {
			return e
		}
		e = fs.quota.around(fd, "", func() syscall.Errno { return fs.emptyDir(fd) })
		sys.Close(fd)
		if e != 0 {
			return e
		}
		fs.cutStack(c)
		c.unload(&fs.dirs)
		c.ix = &index.Dir{}
	}
	c.keepDead(p.fd)
	return 0
}

// keepTarget gives the upper file at the target a name in work/ before it is
// replaced: somebody may have it open.
func (fs *FS) keepTarget(dst *side) syscall.Errno {
	if dst.id == node.None || dst.ent.Upper == index.None {
		return 0
	}
	r := fs.t.Rec(dst.id.Index())
	if r.Has(node.Orphan) || r.Has(node.Indexed) || !fs.primary(r, dst.d.i, dst.name) {
		return 0
	}
	e := sys.Link(dst.fd, dst.name, fs.work.tmp, orphanName(dst.id))
	if e == 0 {
		fail.Point("rename.kept")
		r.Set(node.Orphan)
	}
	return e
}

// fitIn marks an upper object for the place that it is going to: a directory
// must not merge with what lowers have there, and its own lowers must be found
// again.
func (fs *FS) fitIn(r *node.Rec, src, dst *side) syscall.Errno {
	if r.Ino != fs.inos.show(fs.layers[0].dev, r.Key) {
		fs.setImpure(dst.d, dst.fd)
	}
	if !r.Has(node.Dir) {
		return 0
	}
	d := fs.dirs.get(src.id.Index())
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	if len(*d.stack.Load()) > 0 {
		return fs.setRedirect(d, p.fd)
	}
	if len(*dst.d.stack.Load()) > 0 {
		return fs.quota.around(p.fd, "", func() syscall.Errno { return fs.setOpaque(p.fd) })
	}
	return 0
}
