package union

import (
	"encoding/hex"
	"strconv"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// A lower file with several names is copied up once: the upper file gets one
// more link in plyfs/index, named for the lower inode, and every lower name of
// it leads there from then on, in this mount and in later ones. The number of
// names that the mount shows is the upper's link count plus Delta, which is
// kept in overlay.nlink in the kernel's form ("U+1").

// lowerLink is the key of a lower file with several names: where it is, not in
// which layer, since layers may share files (cp -al) and what is mounted in a
// live layer has inode numbers of its own. The upper layer's keys have 0.
func (fs *FS) lowerLink(st *sys.Stat) node.Link {
	return node.Link{Layer: 1 + fs.inos.number(uint64(st.Dev)), Ino: st.Ino}
}

// indexName is the name in plyfs/index for a lower inode, "" when there is
// none that would be good in a later mount.
func (fs *FS) indexName(k node.Link) string {
	n := k.Layer - 1
	s := fs.inos.get(n)
	switch {
	case s.id != (fsID{}):
		return hex.EncodeToString(s.id[:]) + "-" + strconv.FormatUint(k.Ino, 16)
	case s.layer:
		return "fs" + strconv.FormatUint(uint64(n), 16) + "-" + strconv.FormatUint(k.Ino, 16)
	}
	return ""
}

// lookupLinked is lookupNew for a file with several names: they share a node.
func (fs *FS) lookupLinked(d *dir, name string, ent *index.Entry, in *node.Init, f *found, e *Entry) syscall.Errno {
	fs.hardMu.Lock()
	defer fs.hardMu.Unlock()
	if id := fs.findLinked(f); id != node.None {
		return fs.answer(id, e)
	}
	k := fs.linkOf(f)
	lk := k
	delta := int32(0)
	if fs.work.indexed {
		if up, ok := fs.indexedUpper(d, name, f, &lk, &delta); ok {
			k = node.Link{Layer: 0, Ino: up.Ino}
			if id := fs.t.FindLink(k); id != node.None {
				l := fs.loc(id.Index())
				l.Lock()
				fs.t.AddLink(id.Index(), lk)
				if r := fs.t.Rec(id.Index()); !r.Has(node.Indexed) {
					r.OLayer, r.OKey, r.Delta = lk.Layer, lk.Ino, delta
					r.Set(node.Sticky | node.Indexed)
				}
				l.Unlock()
				return fs.answer(id, e)
			}
			in.Layer, in.Key = 0, up.Ino
			in.Flags = node.Upper | node.Indexed
			in.Ino = fs.inos.show(fs.inos.get(lk.Layer-1).dev, lk.Ino)
		}
	}
	id, made, errno := fs.t.Insert(d.i, name, in)
	if errno != 0 {
		return errno
	}
	if made {
		l := fs.loc(id.Index())
		l.Lock()
		r := fs.t.Rec(id.Index())
		fs.t.AddLink(id.Index(), k)
		if f.path != "" && in.Flags&node.Meta != 0 {
			fs.metaPaths.set(id, f.path)
			fs.note(noteMeta, f.path, uint64(id))
		}
		if n := fs.lost.take(k); n != 0 {
			r.Delta = n
			r.Set(node.Sticky)
			fs.note(noteLost, "", uint64(k.Layer), k.Ino, 0)
		}
		if lk.Layer > 0 {
			r.OLayer, r.OKey = lk.Layer, lk.Ino
		}
		if in.Flags&node.Indexed != 0 {
			r.Delta = delta
			r.Set(node.Sticky)
			fs.t.AddLink(id.Index(), lk)
		}
		l.Unlock()
	}
	return fs.answer(id, e)
}

// answer fills the entry of a node that was counted for it; an error takes the
// count back. Precondition: fs.renameMu is held.
func (fs *FS) answer(id node.ID, e *Entry) syscall.Errno {
	e.Node = id
	errno := fs.getAttr(id, &e.Attr)
	if errno != 0 {
		fs.t.Forget(id, 1)
	}
	return errno
}

func (fs *FS) findLinked(f *found) node.ID { return fs.t.FindLink(fs.linkOf(f)) }

// linkOf is the key of a file with several names.
func (fs *FS) linkOf(f *found) node.Link {
	if f.layer == 0 {
		return node.Link{Ino: f.st.Ino}
	}
	return fs.lowerLink(&f.st)
}

// indexedUpper finds the upper file that a lower or upper file with several
// names was copied up to, and the lower inode it came from.
func (fs *FS) indexedUpper(d *dir, name string, f *found, lk *node.Link, delta *int32) (*sys.Stat, bool) {
	p, e := fs.dirFD(d.i, f.layer)
	if e != 0 {
		return nil, false
	}
	defer p.release()
	if f.layer > 0 {
		fs.inos.system(lk.Layer-1, p.fd)
	} else {
		ok := false
		if *lk, ok = fs.originLink(p.fd, name); !ok {
			*lk = node.Link{}
			return nil, false
		}
	}
	var st sys.Stat
	name = fs.indexName(*lk)
	if name == "" || sys.StatAt(fs.work.index, name, &st) != 0 || (f.layer == 0 && st.Ino != f.st.Ino) {
		return nil, false
	}
	var buf [32]byte
	*delta = -1
	if n, e := sys.GetXattr(fs.work.index, name, fs.ns.Nlink(), buf[:]); e == 0 {
		if _, k, err := dialect.ParseNlink(buf[:n]); err == nil {
			*delta = int32(k)
		}
	}
	return &st, true
}

// originLink reads from an upper file which lower inode it was copied from.
func (fs *FS) originLink(dirfd int, name string) (node.Link, bool) {
	var buf [64]byte
	n, e := sys.GetXattr(dirfd, name, fs.ns.Plyfs(), buf[:])
	if e != 0 {
		return node.Link{}, false
	}
	id, ino, err := dialect.ParsePlyfsOrigin(buf[:n])
	if err != nil {
		return node.Link{}, false
	}
	if _, ok := fs.inos.device(id); !ok && id != (fsID{}) {
		return node.Link{}, false
	}
	return node.Link{Layer: 1 + fs.inos.number(fs.inos.origin(id)), Ino: ino}, true
}

// indexLink puts a file with several names, which was just copied up to
// (dirfd, name), into plyfs/index. It is best effort: without it the link is
// broken by the copy-up, as in overlayfs. Precondition: the node's loc is held
// for writing.
func (fs *FS) indexLink(i uint32, r *node.Rec, c *copied, dirfd int, name string) {
	if e := fs.openIndex(); e != 0 {
		return
	}
	lk := fs.lowerLink(&c.st)
	in := fs.indexName(lk)
	if in == "" {
		return
	}
	fail.Point("index.begin")
	if e := sys.Link(dirfd, name, fs.work.index, in); e != 0 {
		return
	}
	fail.Point("index.linked")
	var st sys.Stat
	if sys.StatAt(fs.work.index, in, &st) != 0 {
		return
	}
	want := int32(c.st.Nlink)
	if r.Has(node.Sticky) {
		want += r.Delta
	}
	have := int32(st.Nlink)
	if r.Has(node.Orphan) {
		// The index leads to the file now: the orphan's name can go.
		if sys.Unlink(fs.work.tmp, orphanName(fs.t.ID(i))) == 0 {
			r.Clear(node.Orphan)
			have--
		}
	}
	r.Delta = want - have
	r.Set(node.Sticky | node.Indexed)
	fs.t.AddLink(i, node.Link{Layer: 0, Ino: c.upIno})
	fs.t.AddLink(i, lk)
	fs.saveDelta(r)
}

func (fs *FS) openIndex() syscall.Errno {
	w := &fs.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.index > 0 {
		return 0
	}
	own, e := w.ownDir()
	if e != 0 {
		return e
	}
	fd, e := mkdirOpen(own, "index", 0o700)
	if e == 0 {
		w.index, w.indexed = fd, true
	}
	return e
}

// saveDelta keeps the number of names that the upper's link count does not
// tell. Precondition: the node's loc is held.
func (fs *FS) saveDelta(r *node.Rec) {
	if !r.Has(node.Indexed) {
		return
	}
	var buf [16]byte
	name := fs.indexName(node.Link{Layer: r.OLayer, Ino: r.OKey})
	_ = fs.quota.around(fs.work.index, name, func() syscall.Errno {
		return sys.SetXattr(fs.work.index, name, fs.ns.Nlink(), dialect.AppendNlink(buf[:0], true, int(r.Delta)), 0)
	})
}

// lostNames are the names of lower files that were removed while others stay:
// the layer's link count can't tell, and the node may be forgotten in between.
// They live as long as the mount.
type lostNames struct {
	mu sync.Mutex
	m  map[node.Link]int32
}

// maxLost bounds the map; beyond it a link count is that of the layer again.
const maxLost = 1 << 20

func (l *lostNames) keep(k node.Link, delta int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[node.Link]int32{}
	}
	if len(l.m) < maxLost {
		l.m[k] = delta
	}
}

func (l *lostNames) take(k node.Link) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.m[k]
	delete(l.m, k)
	return n
}

// dropIndexed removes the index entry of a file that has no name left, when
// its node goes away.
func (fs *FS) dropIndexed(r *node.Rec) {
	name := fs.indexName(node.Link{Layer: r.OLayer, Ino: r.OKey})
	var st sys.Stat
	if sys.StatAt(fs.work.index, name, &st) == 0 && int(st.Nlink)+int(r.Delta) <= 0 {
		_ = fs.quota.removing(fs.work.index, name, func() syscall.Errno { return sys.Unlink(fs.work.index, name) })
	}
}

// Link gives a file another name.
func (fs *FS) Link(id, parent node.ID, name string, e *Entry) syscall.Errno {
	fs.quota.begin()
	defer fs.quota.end()
	if errno := newName(name); errno != 0 {
		return errno
	}
	if errno := fs.copyUp(id, wholeFile, false); errno != 0 {
		return errno
	}
	d, errno := fs.lockParent(parent)
	if errno != 0 {
		return errno
	}
	defer fs.unlockParent(d)
	if d.gone {
		return unix.ENOENT
	}
	ent := d.ix.Find(name)
	if ent != nil && ent.Visible() {
		return unix.EEXIST
	}
	p, errno := fs.dirFD(d.i, 0)
	if errno != 0 {
		return errno
	}
	defer p.release()
	i := id.Index()
	l := fs.loc(i)
	l.Lock()
	r := fs.t.Rec(i)
	in := fs.mem.begin(&intent{kind: intentLink, parent: parent, id: id}, name, "")
	errno = fs.linkAt(d, p.fd, name, i, r, ent != nil && ent.Upper == index.Whiteout)
	if errno == 0 {
		fail.Point("link.done")
		ent = d.ix.Add(name)
		ent.Upper, ent.Ino = r.Type, r.Ino
		fs.noteBase(d, p.fd, name)
		if fs.hasOverride(0) && r.Type != unix.DT_LNK {
			ent.Upper = index.Unknown
		}
		fs.t.AddLink(i, node.Link{Layer: 0, Ino: r.Key})
		if r.Has(node.Dead) {
			errno = fs.adopt(i, r, d, name)
		}
	}
	fs.mem.done(in, errno != 0)
	l.Unlock()
	if errno == 0 {
		errno = fs.syncNames(p.fd)
	}
	if errno != 0 {
		return errno
	}
	fs.t.AddLookup(id)
	return fs.answer(id, e)
}

// linkAt makes the link on disk, over a whiteout by way of a temporary.
func (fs *FS) linkAt(d *dir, dirfd int, name string, i uint32, r *node.Rec, over bool) syscall.Errno {
	w, e := fs.where(i, r)
	if e != 0 {
		return e
	}
	defer w.release()
	if r.Ino != fs.inos.show(fs.layers[0].dev, r.Key) {
		fs.setImpure(d, dirfd)
	}
	return fs.quota.around(dirfd, "", func() syscall.Errno { return fs.linkOnDisk(w, dirfd, name, over) })
}

func (fs *FS) linkOnDisk(w at, dirfd int, name string, over bool) syscall.Errno {
	if !over {
		return sys.Link(w.dir.fd, w.name, dirfd, name)
	}
	if dotWhiteout(dirfd, name) {
		if e := sys.Link(w.dir.fd, w.name, dirfd, name); e != 0 {
			return e
		}
		return fs.dropDotWhiteout(dirfd, name)
	}
	tmp := fs.tmpName()
	if e := sys.Link(w.dir.fd, w.name, fs.work.tmp, tmp); e != 0 {
		return e
	}
	fail.Point("link.staged")
	e := fs.quota.removing(dirfd, name, func() syscall.Errno { return sys.Rename(fs.work.tmp, tmp, dirfd, name, 0) })
	if e != 0 {
		_ = sys.Unlink(fs.work.tmp, tmp)
	}
	return e
}

// adopt gives a node without a name (O_TMPFILE, or an orphan with other links)
// the one that was just made. Preconditions: d.mu and the node's loc are held
// for writing.
func (fs *FS) adopt(i uint32, r *node.Rec, d *dir, name string) syscall.Errno {
	if e := fs.t.Move(i, d.i, name, 0); e != 0 {
		return e
	}
	r.Clear(node.Dead)
	if r.Has(node.Orphan) {
		_ = sys.Unlink(fs.work.tmp, orphanName(fs.t.ID(i)))
		r.Clear(node.Orphan)
	}
	return 0
}
