package union

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
)

// Bases is what the unions of one process know together of their lower layers:
// for each stack of lowers the merged index of every directory that one of its
// unions has read, and the attributes of what was looked up in them. The second
// union on the same lowers reads none of their directories.
//
// Lowers are immutable while mounted. A base stays for a while after its last
// union: it holds no descriptors, and is found again by the paths, inode
// numbers and change times of the layers' roots. Nothing of it is ever changed
// but added to; a union that changes a directory takes a copy of its index. An
// index file (known.go) answers in place of all that.
type Bases struct {
	// Log gets a line for an index file that isn't used, or is made; nil drops
	// them.
	Log func(format string, args ...any)
	// Background says that a union doesn't wait for its index file to be built.
	Background bool

	mu     sync.Mutex
	m      map[string]*base // protected by mu
	clock  uint64           // protected by mu
	making map[string]bool  // index files that are being built; protected by mu
	budget int64            // names of a base in use; 0 is maxIndexed
}

// What is kept of bases that no union uses.
const (
	idleBases = 16
	idleNames = 1 << 20
)

// base is what is known of one stack of lowers.
type base struct {
	key    string
	users  int    // protected by Bases.mu
	last   uint64 // protected by Bases.mu: when it was last used
	budget int64
	root   *baseDir
	names  atomic.Int64 // in all indexes
	file   atomic.Pointer[index.File]
	log    func(format string, args ...any)
	broken sync.Once // tells that the file is damaged

	mu   sync.Mutex
	dirs []*baseDir // protected by mu
}

// baseDir is a directory as the lowers alone have it.
type baseDir struct {
	in     *base
	parent *baseDir // nil for the root
	name   string   // in there

	block atomic.Pointer[fileBlock]
	stack atomic.Pointer[[]below]
	ix    atomic.Pointer[baseIndex]
	used  atomic.Bool // since the last sweep

	mu   sync.Mutex
	kids map[string]*baseDir // protected by mu
}

// baseIndex is a merged index that nobody changes, and sorted.
type baseIndex struct {
	*index.Dir
	block *index.Block // nil: it was read from the layers
	once  sync.Once
	attrs []baseAttr // by position; made when the first is known
}

// baseAttr is what a look-up has found for a name.
type baseAttr struct {
	state atomic.Uint32 // nothing, being written, there
	data  uint16
	meta  bool
	st    sys.Stat
}

// take gives the base of a union with these layers.
func (b *Bases) take(key string) *base {
	if b == nil || key == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = map[string]*base{}
	}
	x := b.m[key]
	if x == nil {
		x = &base{key: key, budget: b.budget, log: b.logf}
		if x.budget == 0 {
			x.budget = maxIndexed
		}
		x.root = &baseDir{in: x}
		x.dirs = []*baseDir{x.root}
		b.m[key] = x
	}
	x.users++
	return x
}

// give takes it back. Of those without a union the ones used last stay.
func (b *Bases) give(x *base) {
	if x == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock++
	x.users, x.last = x.users-1, b.clock
	if f := x.file.Load(); f != nil && x.users == 0 {
		// It is found again at once: neither the memory nor the file, which may
		// be deleted by then, is kept.
		delete(b.m, x.key)
		f.Close()
		return
	}
	for {
		var oldest *base
		n, names := 0, int64(0)
		for _, o := range b.m {
			if o.users > 0 {
				continue
			}
			n, names = n+1, names+o.names.Load()
			if oldest == nil || o.last < oldest.last {
				oldest = o
			}
		}
		if n <= idleBases && names <= idleNames {
			return
		}
		delete(b.m, oldest.key)
	}
}

// kid is the directory of this name, made when nobody has asked for it yet.
func (d *baseDir) kid(name string) *baseDir {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kids[name]
	if k == nil {
		k = &baseDir{in: d.in, parent: d, name: string([]byte(name))}
		if d.kids == nil {
			d.kids = map[string]*baseDir{}
		}
		d.kids[k.name] = k
		d.in.mu.Lock()
		d.in.dirs = append(d.in.dirs, k)
		d.in.mu.Unlock()
	}
	return k
}

// index is the merged index, nil when nobody has made it yet.
func (d *baseDir) index() *baseIndex {
	ix := d.ix.Load()
	if ix == nil {
		if b := d.inFile(); b != nil {
			d.ix.CompareAndSwap(nil, &baseIndex{Dir: &b.Dir, block: b})
			ix = d.ix.Load()
		}
	}
	if ix != nil && !d.used.Load() {
		d.used.Store(true)
	}
	return ix
}

// publish keeps an index for the others, and drops some that were not used
// lately when there are too many names.
func (d *baseDir) publish(ix *index.Dir) *baseIndex {
	ix.Sort()
	d.used.Store(true)
	if mine := (&baseIndex{Dir: ix}); d.ix.CompareAndSwap(nil, mine) {
		if d.in.names.Add(int64(ix.Len())) > d.in.budget {
			d.in.sweep(d)
		}
		return mine
	}
	if ix := d.ix.Load(); ix != nil {
		return ix // another union was faster
	}
	return &baseIndex{Dir: ix}
}

func (b *base) sweep(but *baseDir) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for round := 0; round < 2 && b.names.Load() > b.budget/2; round++ {
		for _, d := range b.dirs {
			if d == but || d.used.Swap(false) {
				continue
			}
			if ix := d.ix.Load(); ix != nil && ix.block == nil && d.ix.CompareAndSwap(ix, nil) {
				b.names.Add(-int64(ix.Len()))
			}
		}
	}
}

// attr is the place for what is known of an entry; nil for one of an index
// file, which knows what can be known.
func (ix *baseIndex) attr(e *index.Entry) *baseAttr {
	if ix.block != nil {
		return nil
	}
	ix.once.Do(func() { ix.attrs = make([]baseAttr, ix.Positions()) })
	return &ix.attrs[ix.Position(e)]
}

// The states of a baseAttr.
const (
	attrNone = iota
	attrWriting
	attrThere
)

func (a *baseAttr) get(f *found) bool {
	if a.state.Load() != attrThere {
		return false
	}
	f.st, f.data, f.meta = a.st, a.data, a.meta
	return true
}

func (a *baseAttr) set(f *found) {
	if a.state.CompareAndSwap(attrNone, attrWriting) {
		a.st, a.data, a.meta = f.st, f.data, f.meta
		a.state.Store(attrThere)
	}
}

// baseEntry is the entry of a name as the base has it; nil when it isn't known
// or the lowers' part of the union's entry is another one. Preconditions: as
// lookupLocked.
func (d *dir) baseEntry(name string, ent *index.Entry) (*baseIndex, *index.Entry) {
	b := d.base.Load()
	if b == nil {
		return nil, nil
	}
	ix := b.index()
	if ix == nil {
		return nil, nil
	}
	e := ix.Find(name)
	if e == nil || e.Lower != ent.Lower || e.Layer != ent.Layer {
		return nil, nil
	}
	return ix, e
}

// baseKid is what the base has for a directory of d.
func (fs *FS) baseKid(d *dir, name string, ent *index.Entry) *baseDir {
	if ix, _ := d.baseEntry(name, ent); ix == nil {
		return nil
	}
	return d.base.Load().kid(name)
}

// baseAttr is where the base keeps what is known of an entry that the lowers
// show; nil when it doesn't. Owners that are kept as data are looked up each time.
func (fs *FS) baseAttr(d *dir, name string, ent *index.Entry) *baseAttr {
	if ent.Upper != index.None || fs.hasOverride(ent.Layer) {
		return nil
	}
	ix, e := d.baseEntry(name, ent)
	if ix == nil {
		return nil
	}
	return ix.attr(e)
}

// baseNode is the entry of a node of a lower layer as the base has it; nil when
// it doesn't. Preconditions: as attrLocked.
func (fs *FS) baseNode(i uint32, r *node.Rec) (*baseIndex, *index.Entry) {
	if fs.base == nil || r.Layer == 0 || node.ID(i) == node.Root {
		return nil, nil
	}
	d := fs.dirs.get(r.LowerParent())
	if d == nil {
		return nil, nil
	}
	b := d.base.Load()
	if b == nil {
		return nil, nil
	}
	ix := b.index()
	if ix == nil {
		return nil, nil
	}
	e := ix.Find(fs.t.LowerName(r))
	if e == nil || e.Layer != r.Layer {
		return nil, nil
	}
	return ix, e
}

// baseStat is what the base knows of a node of a lower layer; nil when it
// doesn't. Preconditions: as attrLocked.
func (fs *FS) baseStat(r *node.Rec, ix *baseIndex, e *index.Entry) *sys.Stat {
	if ix == nil || ix.block != nil || fs.hasOverride(r.Layer) {
		return nil
	}
	if a := ix.attr(e); a.state.Load() == attrThere {
		return &a.st
	}
	return nil
}

// baseKey tells stacks apart, and what of the options changes how lowers are
// read; "" for a union that shares nothing: what others change may differ from one
// moment to the next.
func (fs *FS) baseKey(stack *layer.Stack) string {
	if fs.o.Live {
		return ""
	}
	overrides := make([]layer.XattrPermissions, 0, len(fs.layers))
	for i := range fs.layers[1:] {
		overrides = append(overrides, fs.layers[1+i].override) // then a listing tells no types
	}
	return fmt.Sprint(stack.LowerKey(), fs.ns.Prefix(), " ", fs.o.Redirect, fs.o.Metacopy, fs.readsMeta(), overrides)
}
