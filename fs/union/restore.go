package union

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
)

// Restore makes the union that another process has kept with Keep and can't
// serve any more, from what that gave. It takes the descriptors over, also when
// it fails. What was being done is done or undone, as the upper layer shows it.
func Restore(o *layer.Options, held map[string]int) (*FS, error) {
	return (*Bases)(nil).Restore(o, held)
}

// Restore is Restore for a union that knows of its lowers what the others of b
// know.
func (b *Bases) Restore(o *layer.Options, held map[string]int) (*FS, error) {
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	take := func(name string) int {
		fd, ok := held[name]
		if !ok {
			return -1 // what uses it says so
		}
		delete(held, name)
		unix.CloseOnExec(fd)
		return fd
	}
	stack, err := layer.Restore(o, held)
	if err != nil {
		return nil, err
	}
	m := &memory{}
	t, err := node.Open(take("nodes"), take("names"))
	if err == nil {
		m.intents.shared, err = openShared(take("intents"), intentSlots*int(unsafe.Sizeof(intent{})))
	}
	if err == nil {
		err = m.journal.open(take("journal"))
	}
	if err != nil {
		m.close()
		if t != nil {
			t.Close()
		}
		stack.Close()
		return nil, err
	}
	m.intents.init(m.intents.shared)
	return b.assemble(stack, o, t, m)
}

// resume is what is done for a union that goes on, once it is assembled.
func (fs *FS) resume() error {
	for id := range fs.t.Live() {
		r := fs.t.Rec(id.Index())
		if l := max(r.Layer, r.Data); int(l) >= len(fs.layers) {
			return fmt.Errorf("node table: record %d is of layer %d, and there are %d", id.Index(), l, len(fs.layers))
		}
		if !r.Has(node.Dir) {
			continue
		}
		d := fs.dirs.make(id.Index(), nil, nil)
		if r.Has(node.Dead) {
			d.gone = true
			d.ix = &index.Dir{}
			d.stack.Store(&[]below{})
			d.ready.Store(true)
		} else {
			d.lost.Store(true)
		}
	}
	fs.dirs.fs = fs
	fs.readJournal()
	fs.inos.journal = &fs.mem.journal
	if fs.work.tmp <= 0 {
		fs.t.Sweep()
		return nil
	}
	fs.finishIntents()
	for id := range fs.t.Live() {
		if r := fs.t.Rec(id.Index()); r.Has(node.Dir|node.Dead) && r.Layer == 0 {
			fs.standIn(fs.dirs.peek(id.Index()), r)
		}
	}
	if e := fs.tidyWork(); e != 0 {
		return fmt.Errorf("workdir %s: can't remove what the server before left in work/: %w", fs.stack.Work.Path, e)
	}
	fs.t.Sweep()
	return nil
}

// tidyWork removes the temporaries of the process before. What is an orphan of
// a living node stays.
func (fs *FS) tidyWork() syscall.Errno {
	names, e := listNames(fs.work.tmp)
	if e != 0 {
		return e
	}
	for _, n := range names {
		if hex, ok := strings.CutPrefix(n, orphanPrefix); ok {
			if id, err := strconv.ParseUint(hex, 16, 64); err == nil {
				if r := fs.t.Get(node.ID(id)); r != nil && r.Has(node.Orphan) {
					continue
				}
			}
		}
		if n == whiteoutName || n == "incompat" {
			continue
		}
		if e := fs.removeAny(fs.work.tmp, n, 0); e != 0 && e != unix.ENOENT {
			return e
		}
	}
	return 0
}

// remember keeps what fstat of a removed directory is to say: its descriptor
// ends with the process. Precondition: the node's loc is held for writing.
func (fs *FS) remember(c *dir, r *node.Rec) {
	fd := c.dead.Load()
	var st sys.Stat
	if fs.mem == nil || fd < 0 || sys.StatFD(int(fd), &st) != 0 {
		return
	}
	r.OKey = uint64(st.Mode)<<32 | uint64(st.Uid)
	r.Delta = int32(st.Gid)
	r.Mtime, r.MtimeNs = int64(st.Mtim.Sec), uint32(st.Mtim.Nsec)
}

// standIn makes an empty directory with no name in the place of a removed one
// that somebody still stands in.
func (fs *FS) standIn(d *dir, r *node.Rec) {
	tmp := fs.tmpName()
	if sys.Mkdir(fs.work.tmp, tmp, 0o700) != 0 {
		return
	}
	defer sys.Rmdir(fs.work.tmp, tmp)
	fd, e := sys.OpenDir(fs.work.tmp, tmp)
	if e != 0 {
		return
	}
	mode := uint32(r.OKey >> 32)
	_ = fs.setOwner(fs.work.tmp, tmp, uint32(r.OKey), uint32(r.Delta), mode, 0)
	t := unix.Timespec{Sec: tvSec(r.Mtime), Nsec: tvNsec(r.MtimeNs)}
	_ = fs.utimes(fs.work.tmp, tmp, t, t)
	d.dead.Store(int32(fd))
}

// settling is the finding of the layers of directories that a process before
// knew. It is done for each when somebody asks for it.
type settling struct {
	mu sync.Mutex
	fs *FS // nil: nothing was taken over
}

// settle finds out which layers may have parts of a directory, and of those
// above it first. Nobody else has the directory before that.
func (t *dirTable) settle(d *dir) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var chain []*dir
	for d.lost.Load() {
		chain = append(chain, d)
		i := t.fs.t.Rec(d.i).LowerParent()
		if node.ID(i) == node.Root {
			break
		}
		d = t.peek(i)
	}
	for k := len(chain) - 1; k >= 0; k-- {
		t.fs.settleOne(chain[k])
		chain[k].lost.Store(false)
	}
}

// settleOne is settle for a directory whose parent is settled.
func (fs *FS) settleOne(d *dir) {
	r := fs.t.Rec(d.i)
	parent := fs.dirs.peek(r.LowerParent())
	if parent.stack.Load() == nil {
		return // that failed: whoever wants the names gets the error
	}
	name := fs.t.LowerName(r)
	for _, b := range *parent.stack.Load() {
		p, e := fs.dirFD(parent.i, b.layer)
		if e != 0 {
			continue
		}
		var st sys.Stat
		e = sys.StatAt(p.fd, name, &st)
		wh, ok := dialect.DotWhName(name)
		hides := ok && sys.Exists(p.fd, wh)
		p.release()
		if e == 0 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			break
		}
		if e == 0 && !fs.live.hides(uint64(st.Dev), st.Ino) {
			d.cand = append(d.cand, b.layer)
		}
		if hides {
			break
		}
	}
	if fs.loadStack(d) == 0 {
		d.ready.Store(true)
	}
}
