package union

import (
	"strings"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// What is different when the lowers are live: directories in use, of several
// file systems, that others change while we show them, and whose user may not
// read all of them. The host's own root is such a lower.
//
//   - Nothing is kept about a lower inode beyond the life of the mount: its
//     number may belong to another file by then. So no origin is written, and
//     hard links of a lower file are files of their own, which a copy-up
//     separates (as overlayfs does without index=on).
//   - A new directory is opaque from the start: what others make under its name
//     later does not grow into it.
//   - A directory that the server may not read is shown empty.
//   - The upper and the work directory may lie inside a lower: they are not
//     shown there.
//   - An upper object says which state of the lower it replaced, for those who
//     want to put it back ([dialect.Base]).

// live is the part of FS for that.
type live struct {
	on     bool
	hidden [2]hiddenDir

	mu     sync.Mutex
	closed map[string]bool // paths of directories that could not be read
	// OnClosed is called once for each of those, with no lock held but mu.
	onClosed func(path string)
}

type hiddenDir struct{ dev, ino uint64 }

func (fs *FS) initLive() {
	fs.live.on = fs.o.Live
	if !fs.live.on {
		return
	}
	fs.live.closed = map[string]bool{}
	if fs.stack.Upper != nil {
		u, w := fs.stack.Upper, fs.stack.Work
		fs.live.hidden[0] = hiddenDir{u.Dev, u.Ino}
		if w != nil {
			fs.live.hidden[1] = hiddenDir{w.Dev, w.Ino}
		}
	}
}

// OnClosed has fn called for each directory of a live lower that is shown
// empty because the server may not read it, once, with its path from the root of
// the mount. It is to be set before the first request.
func (fs *FS) OnClosed(fn func(path string)) { fs.live.onClosed = fn }

// hides says whether a lower object is a directory of ours.
func (l *live) hides(dev, ino uint64) bool {
	return l.on && ino != 0 && (hiddenDir{dev, ino} == l.hidden[0] || hiddenDir{dev, ino} == l.hidden[1])
}

// maybeHidden is hides for an inode number that a directory listing tells.
func (fs *FS) maybeHidden(dirfd int, name string, n uint16, ino uint64) bool {
	l := &fs.live
	if !l.on || n == 0 || ino == 0 || (ino != l.hidden[0].ino && ino != l.hidden[1].ino) {
		return false
	}
	var st sys.Stat
	return sys.StatAt(dirfd, name, &st) == 0 && l.hides(uint64(st.Dev), st.Ino)
}

// shared says whether an object's names are to lead to one node.
func (fs *FS) shared(f *found) bool {
	return f.st.Nlink > 1 && (f.layer == 0 || !fs.live.on)
}

// closed takes what can be had of a lower directory that can't be listed: where
// it can be searched, the names that are asked for. Preconditions as loadIndex.
func (rd *reader) closed(d *dir, dirfd int, n uint16) syscall.Errno {
	fs := rd.fs
	var st sys.Stat
	if sys.StatAt(dirfd, ".", &st) != 0 {
		fs.noteClosed(d.i, n)
		return 0
	}
	d.closed = append(d.closed, n)
	seen := map[string]bool{}
	for _, name := range append(rd.b.Names(), d.learned...) {
		if seen[name] || sys.StatAt(dirfd, name, &st) != 0 {
			continue
		}
		seen[name] = true
		typ := uint8(st.Mode >> 12 & 15)
		if typ == unix.DT_CHR && st.Rdev == 0 {
			rd.b.Whiteout(name)
			continue
		}
		if !fs.live.hides(uint64(st.Dev), st.Ino) {
			rd.b.Entry(name, typ, fs.inos.show(uint64(st.Dev), st.Ino))
		}
	}
	return 0
}

// learn looks for a name in the lower parts of a directory that can't be listed.
// Precondition: fs.renameMu is held.
func (fs *FS) learn(d *dir, name string) {
	if fs.lock(d) != 0 {
		return
	}
	defer d.mu.Unlock()
	if d.ix.Find(name) != nil || len(d.learned) >= maxClosed {
		return
	}
	for _, n := range d.closed {
		p, e := fs.dirFD(d.i, n)
		if e != 0 {
			continue
		}
		found := sys.Exists(p.fd, name)
		p.release()
		if found {
			d.learned = append(d.learned, strings.Clone(name))
			d.unload(&fs.dirs)
			_ = fs.loadIndex(d) // else the next one who wants it tries again
			return
		}
	}
}

// noteClosed remembers a directory that could not be read. Precondition:
// fs.renameMu is held.
func (fs *FS) noteClosed(i uint32, n uint16) {
	path, e := fs.lowerPath(i, n)
	if e != 0 {
		return
	}
	path = "/" + path[:max(len(path)-1, 0)]
	l := &fs.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed[path] || len(l.closed) >= maxClosed {
		return
	}
	l.closed[path] = true
	if l.onClosed != nil {
		l.onClosed(path)
	}
}

// maxClosed bounds what is remembered of directories that can't be read.
const maxClosed = 10000

// absent says whether an error of opening a lower directory that was there
// before means that others have taken it away.
func (l *live) absent(e syscall.Errno) bool {
	return l.on && (e == unix.ENOENT || e == unix.ENOTDIR || e == unix.ELOOP || e == unix.ESTALE)
}

// refresh forgets the descriptors of a directory's lower parts before they are
// read again: others may have put another directory there.
func (fs *FS) refresh(d *dir) {
	if !fs.live.on || node.ID(d.i) == node.Root {
		return
	}
	for _, b := range *d.stack.Load() {
		fs.fds.drop(fs.key(d.i, b.layer, kindDir))
	}
}

// statLower looks at a lower part of a directory by its name, so that another
// directory in its place is noticed.
func (fs *FS) statLower(d *dir, b *below, st *sys.Stat) syscall.Errno {
	if node.ID(d.i) == node.Root || b.path != "" {
		p, e := fs.dirFD(d.i, b.layer)
		if e != 0 {
			return e
		}
		defer p.release()
		return sys.StatFD(p.fd, st)
	}
	r := fs.t.Rec(d.i)
	p, e := fs.dirFD(r.LowerParent(), b.layer)
	if e != 0 {
		return e
	}
	defer p.release()
	return sys.StatAt(p.fd, fs.t.LowerName(r), st)
}

// baseOf is the record of a lower object that an upper one takes the place of.
func baseOf(st *sys.Stat) dialect.Base {
	return dialect.Base{
		Ino: st.Ino, Size: uint64(st.Size), Mode: st.Mode,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// noteBase marks the upper object that was just put at (dirfd, name) with what
// the lower has under that name, if it has something. What can't carry an xattr
// goes without. Preconditions: fs.renameMu and d.mu are held.
func (fs *FS) noteBase(d *dir, dirfd int, name string) {
	if !fs.live.on {
		return
	}
	ent := d.ix.Find(name)
	if ent == nil || !ent.HasLower() || ent.Upper == index.Whiteout || ent.Upper == index.None {
		return
	}
	p, e := fs.dirFD(d.i, ent.Layer)
	if e != 0 {
		return
	}
	defer p.release()
	var st, up sys.Stat
	if sys.StatAt(p.fd, name, &st) != 0 || sys.StatAt(dirfd, name, &up) != 0 {
		return
	}
	if t := up.Mode & unix.S_IFMT; t == unix.S_IFREG || t == unix.S_IFDIR {
		had, _ := sys.ReadXattr(dirfd, name, dialect.BaseXattr)
		_ = fs.quota.around(dirfd, name, func() syscall.Errno {
			return sys.SetXattr(dirfd, name, dialect.BaseXattr, dialect.AddBase(had, baseOf(&st)), 0)
		})
	}
}

// separate gives a copied-up hard link of a live lower a number of its own: the
// other names go on to be the lower file. Preconditions: d.mu and the node's loc
// are held for writing.
func (fs *FS) separate(r *node.Rec, ent *index.Entry, c *copied) {
	if !fs.live.on || c.isDir || c.st.Nlink < 2 {
		return
	}
	up := fs.inos.show(fs.layers[0].dev, c.upIno)
	fs.inos.drop(up)
	r.Ino = up
	if ent != nil {
		ent.Ino = up
	}
}
