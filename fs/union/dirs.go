package union

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// below is one lower directory that is merged into a directory.
type below struct {
	layer uint16
	xwh   bool // may hold xattr whiteouts (opaque=x)
	// path is where a redirect led, from the layer's root; "" means the
	// node's own lower name in its lower parent.
	path string
}

// dir is what the heap holds for a directory that the kernel knows. All of it
// can be found again from the layers.
type dir struct {
	i       uint32
	mu      sync.RWMutex // guards what follows, and the names in this directory
	ix      *index.Dir   // nil: not loaded
	common  bool         // ix is the base's: it is copied before a change
	counted int64        // what ix adds to dirTable.names
	// cand are the lower layers that may be merged, from the parent's index.
	cand   []uint16
	gone   bool // removed: nothing can be made here any more
	impure bool // the upper directory is marked so already
	xmark  bool // the upper directory is marked opaque=x already
	defACL int8 // the upper directory has a default ACL: 0 unknown, 1 no, 2 yes
	// redirect is what the upper directory's mark says, as a path that begins
	// with a slash; "" when it has none.
	redirect string

	// base is what other unions know of the lower parts; nil when they are not
	// those that the base has there.
	base atomic.Pointer[baseDir]

	// stack are the lower directories, top first; nil: not looked for yet.
	stack   atomic.Pointer[[]below]
	former  atomic.Pointer[[]below] // the stack before the directory was cut off from its lowers
	ready   atomic.Bool             // the stack is known, or not needed yet
	used    atomic.Bool             // since the last sweep over all indexes
	lost    atomic.Bool             // known to a process before: to be settled first
	dead    atomic.Int32
	closed  []uint16 // live mode: layers that can't be listed here
	learned []string // names that were found in those all the same
	since   dirStamp // live mode: what the layers' directories looked like
}

// dirStamp tells whether a directory that others change is still as it was
// when it was read.
type dirStamp struct {
	read  time.Time
	sums  []uint64
	fresh bool
}

const dirShards = 64

type dirTable struct {
	shards [dirShards]struct {
		mu sync.RWMutex
		m  map[uint32]*dir
	}
	names  atomic.Int64 // in all loaded indexes
	sweep  sync.Mutex
	budget int64
	settling
}

// maxIndexed is how many names the loaded indexes may hold together before
// those not used lately are dropped: about 50 bytes each.
const maxIndexed = 2 << 20

func (t *dirTable) init() {
	for i := range t.shards {
		t.shards[i].m = map[uint32]*dir{}
	}
	t.budget = maxIndexed
}

// get is the dir of a live node, nil when there is none.
func (t *dirTable) get(i uint32) *dir {
	d := t.peek(i)
	if d != nil && d.lost.Load() {
		t.settle(d)
	}
	return d
}

// bury notes that a directory is gone that no process has asked for yet.
func (t *dirTable) bury(i uint32) {
	if d := t.peek(i); d != nil {
		d.gone, d.ix = true, &index.Dir{}
		d.stack.Store(&[]below{})
		d.ready.Store(true)
		d.lost.Store(false)
	}
}

// peek is get for those who settle, or need not.
func (t *dirTable) peek(i uint32) *dir {
	s := &t.shards[i%dirShards]
	s.mu.RLock()
	d := s.m[i]
	s.mu.RUnlock()
	return d
}

// make makes the dir of a new node. It is complete before anybody finds it.
func (t *dirTable) make(i uint32, cand []uint16, b *baseDir) *dir {
	s := &t.shards[i%dirShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &dir{i: i, cand: cand}
	d.dead.Store(-1)
	d.base.Store(b)
	s.m[i] = d
	return d
}

// free drops the dir of a node that is going away.
func (t *dirTable) free(fs *FS, i uint32) {
	s := &t.shards[i%dirShards]
	s.mu.Lock()
	d := s.m[i]
	delete(s.m, i)
	s.mu.Unlock()
	if d == nil {
		return
	}
	fs.dropDirFDs(d)
	t.names.Add(-d.counted)
	if fd := d.dead.Swap(-1); fd >= 0 {
		sys.Close(int(fd))
	}
}

// closeAll closes the descriptors of removed directories.
func (t *dirTable) closeAll() {
	for i := range t.shards {
		for _, d := range t.shards[i].m {
			if fd := d.dead.Swap(-1); fd >= 0 {
				sys.Close(int(fd))
			}
		}
	}
}

// loaded counts a freshly loaded index and drops others that were not used
// since the last time when there are too many names. It is called with d.mu
// held, so it only tries the locks of others.
func (t *dirTable) loaded(d *dir) {
	d.used.Store(true)
	d.counted = int64(d.ix.Len())
	if t.names.Add(d.counted) <= t.budget || !t.sweep.TryLock() {
		return
	}
	defer t.sweep.Unlock()
	for round := 0; round < 2 && t.names.Load() > t.budget/2; round++ {
		for i := range t.shards {
			s := &t.shards[i]
			s.mu.RLock()
			for _, o := range s.m {
				if o == d || o.used.Swap(false) || !o.mu.TryLock() {
					continue
				}
				o.unload(t)
				o.mu.Unlock()
			}
			s.mu.RUnlock()
		}
	}
}

// unload drops the index. Precondition: d.mu is held.
func (d *dir) unload(t *dirTable) {
	t.names.Add(-d.counted)
	d.ix, d.counted, d.common = nil, 0, false
}

// keepDead keeps a descriptor of a directory that is about to lose its name:
// somebody may stand in it.
func (d *dir) keepDead(fd int) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	if old := d.dead.Swap(int32(n)); old >= 0 {
		sys.Close(int(old))
	}
}

// cutStack notes that nothing is merged into the directory any more. Where its
// lower parts are is kept for files in them that were removed and are still
// open. Precondition: d.mu is held for writing.
func (fs *FS) cutStack(d *dir) {
	d.base.Store(nil)
	fs.dropDirFDs(d)
	if d.former.Load() == nil {
		d.former.Store(d.stack.Load())
	}
	d.stack.Store(&[]below{})
}

// dropDirFDs closes the cached descriptors of all parts of a directory.
func (fs *FS) dropDirFDs(d *dir) {
	fs.fds.drop(fs.key(d.i, 0, kindDir))
	for _, n := range d.cand {
		fs.fds.drop(fs.key(d.i, n, kindDir))
	}
	for _, p := range [...]*[]below{d.stack.Load(), d.former.Load()} {
		if p == nil {
			continue
		}
		for _, b := range *p {
			fs.fds.drop(fs.key(d.i, b.layer, kindDir))
		}
	}
}

// lowerAt is where a redirect led to the directory's part in a layer, "" when
// it is reached by its name.
func (d *dir) lowerAt(layer uint16) string {
	for _, p := range [...]*[]below{d.stack.Load(), d.former.Load()} {
		if p == nil {
			continue
		}
		for _, b := range *p {
			if b.layer == layer && b.path != "" {
				return b.path
			}
		}
	}
	return ""
}
