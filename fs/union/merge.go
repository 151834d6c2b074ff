package union

import (
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// rlock takes d.mu for reading with the index loaded. Precondition:
// fs.renameMu is held.
func (fs *FS) rlock(d *dir) syscall.Errno {
	for {
		d.mu.RLock()
		if d.ix != nil && !fs.stale(d) {
			if !d.used.Load() {
				d.used.Store(true)
			}
			return 0
		}
		d.mu.RUnlock()
		if e := fs.load(d); e != 0 {
			return e
		}
		d.mu.Unlock()
		if fs.o.Live {
			// What others change all the time is not waited for.
			d.mu.RLock()
			if d.ix != nil {
				return 0
			}
			d.mu.RUnlock()
		}
	}
}

// lock takes d.mu for writing with the index loaded, and no other union's.
// Precondition: fs.renameMu is held.
func (fs *FS) lock(d *dir) syscall.Errno {
	if e := fs.load(d); e != 0 {
		return e
	}
	if d.common {
		d.ix, d.common = d.ix.Clone(), false
	}
	return 0
}

// load is lock for who changes nothing in the index.
func (fs *FS) load(d *dir) syscall.Errno {
	d.mu.Lock()
	if d.ix != nil && fs.stale(d) {
		d.unload(&fs.dirs)
	}
	if d.ix == nil {
		if e := fs.loadIndex(d); e != 0 {
			d.mu.Unlock()
			return e
		}
	}
	return 0
}

// loadIndex merges the directory's layers. Preconditions: fs.renameMu and d.mu
// are held.
func (fs *FS) loadIndex(d *dir) syscall.Errno {
	if e := fs.loadStack(d); e != 0 {
		return e
	}
	fs.refresh(d)
	rd := reader{fs: fs, b: index.NewBuilder()}
	d.since = dirStamp{read: time.Now()}
	d.closed = nil
	if fs.live.on {
		fs.meetSystems(d)
	}
	e := unix.EAGAIN
	if d.base.Load() != nil {
		e = fs.mergeBase(d)
	}
	if e == unix.EAGAIN {
		if e = rd.upper(d); e == 0 && !rd.opaque {
			e = rd.lowers(d)
		}
		d.ix, d.common = rd.b.Done(), false
	}
	if e != 0 {
		d.ix, d.common = nil, false
		return e
	}
	fs.dirs.loaded(d)
	return 0
}

// mergeBase is loadIndex for a directory whose lower parts other unions know,
// or shall know. EAGAIN: here they are to be hidden.
func (fs *FS) mergeBase(d *dir) syscall.Errno {
	b := d.base.Load()
	ix := b.index()
	if ix == nil {
		rd := reader{fs: fs, b: index.NewBuilder()}
		if e := rd.lowers(d); e != 0 {
			return e
		}
		ix = b.publish(rd.b.Done())
	}
	rd := reader{fs: fs, b: index.NewOverlay(ix.Dir)}
	if e := rd.upper(d); e != 0 {
		return e
	}
	if rd.opaque {
		d.base.Store(nil)
		return unix.EAGAIN
	}
	d.ix = rd.b.Done()
	d.common = d.ix == ix.Dir
	return 0
}

// upper reads the directory's part in the upper layer, if there is one.
func (rd *reader) upper(d *dir) syscall.Errno {
	fs := rd.fs
	if !fs.t.Rec(d.i).Has(node.Upper) || d.gone {
		return 0
	}
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return e
	}
	defer p.release()
	if node.ID(d.i) == node.Root {
		m := fs.readMarks(p.fd)
		d.impure, d.xmark = m.impure, m.xwh
	}
	rd.b.Layer(0)
	_, e = rd.layer(p.fd, 0, d.xmark, d.impure)
	return e
}

// lowers reads the directory's parts in the lower layers.
func (rd *reader) lowers(d *dir) syscall.Errno {
	fs := rd.fs
	for _, s := range *d.stack.Load() {
		p, e := fs.dirFD(d.i, s.layer)
		if fs.live.absent(e) {
			d.since.sums = append(d.since.sums, 0)
			continue
		}
		if e != 0 {
			return e
		}
		if fs.live.on {
			d.since.add(p.fd)
		}
		rd.b.Layer(s.layer)
		_, e = rd.layer(p.fd, s.layer, s.xwh, false)
		if e == unix.EACCES && fs.live.on {
			e = rd.closed(d, p.fd, s.layer)
		}
		p.release()
		if e != 0 || rd.opaque {
			return e
		}
	}
	return 0
}

// meetSystems looks at what is mounted in live lowers before anything in the
// upper layer that came from there is.
func (fs *FS) meetSystems(d *dir) {
	for _, s := range *d.stack.Load() {
		if p, e := fs.dirFD(d.i, s.layer); e == 0 {
			var st sys.Stat
			if sys.StatFD(p.fd, &st) == 0 {
				fs.inos.system(fs.inos.number(uint64(st.Dev)), p.fd)
			}
			p.release()
		}
	}
}

// reader feeds the entries of one layer after the other to a Builder.
type reader struct {
	fs     *FS
	b      *index.Builder
	buf    []byte
	opaque bool // the layer had .wh..wh..opq
}

// layer reads one directory. dirfd is its O_PATH descriptor.
func (rd *reader) layer(dirfd int, n uint16, xwh, impure bool) (int, syscall.Errno) {
	fs := rd.fs
	fd, e := fs.fds.open(func() (int, syscall.Errno) {
		return sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0)
	})
	if e == unix.EPERM {
		fd, e = sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if e == unix.EACCES && n == 0 {
		fd, e = fs.openOwn(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if e != 0 {
		return 0, e
	}
	defer sys.Close(fd)
	if rd.buf == nil {
		rd.buf = make([]byte, 32<<10)
	}
	li := &fs.layers[n]
	dev := li.dev
	if fs.live.on && n > 0 {
		var st sys.Stat // a live lower may be of several file systems
		if e := sys.StatFD(fd, &st); e != 0 {
			return 0, e
		}
		dev = uint64(st.Dev)
	}
	count := 0
	e = sys.ReadDir(fd, rd.buf, func(name string, ino uint64, typ uint8) bool {
		count++
		if name[0] == '.' && typ != unix.DT_CHR {
			target, kind := dialect.ParseDotWh(name)
			switch kind {
			case dialect.DotWhWhiteout:
				rd.b.Hide(target)
				return true
			case dialect.DotWhOpaque:
				rd.opaque = true
				return true
			case dialect.DotWhMeta:
				return true
			}
		}
		if typ == unix.DT_DIR && fs.maybeHidden(dirfd, name, n, ino) {
			return true
		}
		var st sys.Stat
		switch {
		case typ == unix.DT_UNKNOWN || typ == unix.DT_CHR || (typ == unix.DT_REG && xwh) || fs.inos.several:
			if sys.StatAt(dirfd, name, &st) != 0 {
				return true // raced with a removal
			}
			typ = uint8(st.Mode >> 12 & 15)
			if typ == unix.DT_CHR && st.Rdev == 0 || typ == unix.DT_REG && xwh && st.Size == 0 && fs.isXattrWhiteout(dirfd, name) {
				rd.b.Whiteout(name)
				return true
			}
			ino = fs.inos.show(st.Dev, st.Ino)
		default:
			ino = fs.inos.show(dev, ino)
		}
		if n == 0 && impure {
			if o, ok := fs.originIno(dirfd, name); ok {
				ino = o
			}
		}
		if n == 0 {
			ino = fs.inos.kept(ino)
		}
		if typ == unix.DT_REG && li.override != layer.XattrPermNone {
			typ = index.Unknown // its xattr may say that it is a device
		}
		rd.b.Entry(name, typ, ino)
		return true
	})
	return count, e
}

// add notes how a layer's directory looks now.
func (s *dirStamp) add(fd int) {
	var st sys.Stat
	if sys.StatFD(fd, &st) == 0 {
		s.sums = append(s.sums, stampOf(&st))
		if s.read.Sub(time.Unix(st.Mtim.Unix())) < 50*time.Millisecond {
			s.fresh = true // a change within the clock's grain would not show
		}
	}
}

func stampOf(st *sys.Stat) uint64 {
	h := uint64(st.Mtim.Nano())
	h = h*0x9e3779b97f4a7c15 ^ uint64(st.Ctim.Nano())
	return h*0x9e3779b97f4a7c15 ^ st.Ino
}

// stale says whether a lower directory has changed since the index was read;
// that is looked for in live mode only. Preconditions: fs.renameMu and d.mu
// are held (for reading at least), d.ix is loaded.
func (fs *FS) stale(d *dir) bool {
	if !fs.o.Live {
		return false
	}
	if d.since.fresh {
		return true
	}
	stack := *d.stack.Load()
	for k := range stack {
		var st sys.Stat
		sum := uint64(0)
		if e := fs.statLower(d, &stack[k], &st); e == 0 {
			sum = stampOf(&st)
		} else if !fs.live.absent(e) {
			return true
		}
		if k >= len(d.since.sums) || d.since.sums[k] != sum {
			return true
		}
	}
	return false
}
