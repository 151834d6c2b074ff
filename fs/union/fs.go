package union

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// FS is a mounted union. Its methods are safe for concurrent use.
type FS struct {
	o      layer.Options
	stack  *layer.Stack
	layers []layerInfo // 0 is the upper (fd -1 when there is none), n the n-th lower
	ns     dialect.NS
	ro     bool
	root   bool // the server has all capabilities over the layers (it is root in some user namespace)
	fsetid bool // a write by the server leaves suid and sgid as they are
	work   workDir
	ids    struct{ uid, gid idMap }
	myUID  uint32 // what a file made by the server is owned by
	myGID  uint32
	inos   inoMap

	caps    atomic.Pointer[upperCaps] // see can
	probing sync.Mutex
	journal upperOrder

	bases *Bases
	base  *base // nil: nothing is shared

	t    *node.Table
	fds  *fdCache
	dirs dirTable

	renameMu  sync.RWMutex
	newDirMu  sync.Mutex // making of directory nodes, until the heap has their dir
	hardMu    sync.Mutex // making of nodes for files with several names
	locs      [locStripes]paddedRWMutex
	copies    flights
	metaPaths metaPaths

	quota quota
	lost  lostNames
	live  live
	seq   atomic.Uint64
	mem   *memory // nil: nothing is kept for another process

	tally *Tally

	backing Backing // nil: files are opened without a message; set before the first request
	passing passing
}

// layerInfo is what is known of a layer.
type layerInfo struct {
	fd       int
	override layer.XattrPermissions // owners and modes are kept as xattrs
	ovName   string                 // the xattr that this layer uses
	bottom   bool
	dev      uint64
	sealed   bool // nothing can be written through fd: its mount is read-only

	bare *bareAnswers
}

const locStripes = 256

type paddedRWMutex struct {
	sync.RWMutex
	_ [40]byte
}

// loc is the lock of a node's place and state.
func (fs *FS) loc(i uint32) *sync.RWMutex { return &fs.locs[i%locStripes].RWMutex }

// New makes a union of the stack's layers. It takes the stack over: Close
// closes it, and so does New when it fails. A directory of the upper layer is
// changed only in ways that kernel overlayfs changes it.
func New(stack *layer.Stack, o *layer.Options) (*FS, error) { return (*Bases)(nil).New(stack, o) }

// New is New for a union that knows of its lowers what the others of b know.
func (b *Bases) New(stack *layer.Stack, o *layer.Options) (*FS, error) {
	if o.Live {
		stack.Shelter() // live lowers show what is mounted in them
	} else {
		stack.Detach()
	}
	t, err := node.New()
	if err != nil {
		_ = stack.Close()
		return nil, err
	}
	return b.assemble(stack, o, t, nil)
}

// assemble makes the union of what it takes over. With a memory it is one that
// another process has had.
func (b *Bases) assemble(stack *layer.Stack, o *layer.Options, t *node.Table, m *memory) (_ *FS, err error) {
	fs := &FS{o: *o, stack: stack, ro: stack.Upper == nil || o.ReadOnly, t: t, mem: m, tally: new(Tally)}
	defer func() {
		if err != nil {
			fs.release()
		}
	}()
	fs.copies.m = map[uint32]*flight{}
	fs.layers = append(fs.layers, layerInfo{fd: -1})
	if stack.Upper != nil {
		fs.layers[0].fd, fs.layers[0].dev = stack.Upper.FD, stack.Upper.Dev
	}
	for i, l := range stack.Lower {
		fs.layers = append(fs.layers, layerInfo{fd: l.FD, dev: l.Dev, bottom: i == len(stack.Lower)-1})
	}
	fs.root = os.Geteuid() == 0
	fs.myUID, fs.myGID = uint32(os.Geteuid()), uint32(os.Getegid())
	fs.ids.uid = newIDMap(o.UIDMap, o.SquashToRoot, o.SquashUID, "/proc/self/uid_map")
	fs.ids.gid = newIDMap(o.GIDMap, o.SquashToRoot, o.SquashGID, "/proc/self/gid_map")
	fs.fsetid = fs.ids.uid.known == nil && sys.HasCapability(unix.CAP_FSETID)
	fs.ns = fs.chooseNS()
	fs.t.OnFree = fs.freed
	fs.fds = newFDCache(fdBudget(len(fs.layers)))
	fs.dirs.init()
	for i := range fs.layers {
		if l := &fs.layers[i]; l.fd >= 0 {
			fs.detectOverride(l)
		}
	}
	fs.inos.init(fs.layers)
	fs.initLive()
	if b == nil && o.Index != "" {
		b = new(Bases)
	}
	fs.bases, fs.base = b, b.take(fs.baseKey(stack))
	fs.useIndex()
	if stack.Upper != nil && !fs.ro {
		if err = fs.openWork(); err != nil {
			return nil, err
		}
	}
	if err = fs.initRoot(); err != nil {
		return nil, err
	}
	if m != nil {
		if err = fs.resume(); err != nil {
			return nil, err
		}
	}
	if fs.work.tmp > 0 {
		err = fs.quota.start(fs)
	}
	return fs, err
}

// fdBudget is how many descriptors may be cached: what the soft limit leaves
// after the layers' roots, the transport and requests under way.
func fdBudget(layers int) int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 256
	}
	return min(max(int(min(r.Cur, 1<<20))-layers-100, 32), 16384)
}

// initRoot gives the root node its place.
func (fs *FS) initRoot() error {
	r := fs.t.Rec(node.Root.Index())
	d := fs.dirs.make(node.Root.Index(), nil, nil)
	if fs.base != nil {
		d.base.Store(fs.base.root)
	}
	s := make([]below, 0, len(fs.layers))
	for i := 1; i < len(fs.layers); i++ {
		s = append(s, below{layer: uint16(i)})
	}
	r.Layer = 1
	if fs.layers[0].fd >= 0 {
		r.Layer = 0
		r.Set(node.Upper)
	}
	// The number is that of the topmost lower, as for any merged directory: a
	// copy-up keeps it.
	var st sys.Stat
	if e := sys.StatFD(fs.layers[1].fd, &st); e != 0 {
		return fmt.Errorf("layer root: %w", e)
	}
	r.Ino = fs.inos.show(st.Dev, st.Ino)
	d.stack.Store(&s)
	d.ready.Store(true)
	return nil
}

// Close tidies the work directory and closes all layers. No request may be
// under way.
func (fs *FS) Close() error {
	err := fs.closeWork()
	fs.release()
	return err
}

func (fs *FS) release() {
	if fs.fds != nil {
		fs.fds.shrink()
	}
	if fs.stack != nil && fs.stack.Upper != nil {
		// Who waits for the workdir finds the upper free, too.
		_ = unix.Flock(fs.stack.Upper.FD, unix.LOCK_UN)
	}
	fs.work.close()
	fs.mem.close()
	fs.mem = nil
	if fs.t != nil {
		fs.dirs.closeAll()
		fs.t.Close()
		fs.t = nil
	}
	fs.bases.give(fs.base)
	fs.base = nil
	if fs.stack != nil {
		_ = fs.stack.Close()
		fs.stack = nil
	}
}

// Forget takes n look-ups of a node back; one that nothing holds any more
// costs nothing afterwards.
func (fs *FS) Forget(id node.ID, n uint64) { fs.t.Forget(id, n) }

// Nodes is the number of nodes that the kernel holds, and their parents.
func (fs *FS) Nodes() int { return fs.t.Count() }

// freed is called for a node that is going away.
func (fs *FS) freed(id node.ID, r *node.Rec) {
	i := id.Index()
	if r.Has(node.Moved) {
		fs.t.Unpin(node.ID(r.Key))
	}
	if r.Has(node.Dir) {
		fs.dirs.free(fs, i)
	} else {
		fs.fds.drop(fs.key(i, r.Layer, kindFile))
		if r.Has(node.Meta) {
			fs.fds.drop(fs.key(i, r.Data, kindFile))
			fs.fds.drop(fs.key(i, r.Data, kindMeta))
			fs.metaPaths.set(id, "")
		}
	}
	if r.Has(node.Orphan) {
		fs.removeOrphan(id)
	}
	switch {
	case r.Has(node.Indexed):
		fs.dropIndexed(r)
	case r.Has(node.Sticky|node.HardLink) && !r.Has(node.Upper):
		fs.lost.keep(node.Link{Layer: r.OLayer, Ino: r.OKey}, r.Delta)
		fs.note(noteLost, "", uint64(r.OLayer), r.OKey, uint64(uint32(r.Delta)))
	}
}

// writable is the errno of a change to a read-only mount.
func (fs *FS) writable() syscall.Errno {
	if fs.ro {
		return unix.EROFS
	}
	return 0
}

// Name is the node's path as the mount shows it, for the trace; best effort.
func (fs *FS) Name(id node.ID) string {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	r := fs.t.Get(id)
	if r == nil {
		return "?"
	}
	path := ""
	for i := id.Index(); node.ID(i) != node.Root; {
		r = fs.t.Rec(i)
		l := fs.loc(i)
		l.RLock()
		name, parent := fs.t.Name(r), r.Parent()
		if r.Has(node.Dead) {
			name += " (deleted)"
		}
		path = "/" + name + path
		l.RUnlock()
		i = parent
	}
	if path == "" {
		return "/"
	}
	return path
}
