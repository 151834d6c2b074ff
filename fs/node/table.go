package node

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	shardCount = 64
	recsLimit  = 64 << 30 // address space, not memory
	namesLimit = 16 << 30
)

// Link is the key under which a file with several names is found.
type Link struct {
	Layer uint16
	Ino   uint64
}

type shard struct {
	mu      sync.Mutex
	buckets []uint32
	n       int
	_       [24]byte
}

// Table is the table of nodes. It is safe for concurrent use.
type Table struct {
	recs   *arena
	hdr    *header
	names  names
	shards [shardCount]shard
	seed   maphash.Seed
	limit  atomic.Int64 // records that were ever given out

	moveMu sync.Mutex // one Move at a time: there is one redo slot
	linkMu sync.Mutex
	links  map[Link]uint32
	keys   map[uint32][]Link // the keys of each node in links

	allocMu sync.Mutex
	used    []uint64 // one bit a record
	live    []int32  // living records of each chunk
	hint    int
	count   int

	// OnFree is called for a node that nobody can reach any more, before its
	// record is used again. It is called with no lock of the table held and
	// must not call back into it for the same node.
	OnFree func(id ID, r *Rec)
}

// New makes a table with the root node in it. The memory is the table's own.
func New() (*Table, error) {
	recs, err := newArena("plyfs-nodes", recsLimit)
	if err != nil {
		return nil, err
	}
	nm, err := newArena("plyfs-names", namesLimit)
	if err != nil {
		recs.close()
		return nil, err
	}
	return newTable(recs, nm)
}

// NewHeap is New on the Go heap for up to n nodes, for tests under the race
// detector, which sees no other memory.
func NewHeap(n int) *Table {
	t, _ := newTable(newHeapArena((n*recSize/chunkSize+1)*chunkSize), newHeapArena(16*chunkSize))
	return t
}

func newTable(recs, nm *arena) (*Table, error) {
	t := &Table{recs: recs, seed: maphash.MakeSeed(), links: map[Link]uint32{}, keys: map[uint32][]Link{}}
	if err := recs.touch(0); err != nil {
		recs.close()
		nm.close()
		return nil, err
	}
	t.hdr = (*header)(unsafe.Pointer(&recs.mem[0]))
	t.names = names{a: nm, hdr: t.hdr}
	t.hdr.magic, t.hdr.version, t.hdr.recSize = magic, formatVersion, uint32(recSize)
	t.used = []uint64{1<<headerRecs - 1}
	t.live = []int32{1}
	t.count = 1
	t.limit.Store(headerRecs)
	root := t.rec(Root.Index())
	*root = Rec{}
	root.flags = Dir
	root.Type = syscall.DT_DIR
	root.lookups = 1
	root.word = stateLive
	return t, nil
}

// Close unmaps the table. Nothing may use it afterwards.
func (t *Table) Close() {
	t.recs.close()
	t.names.a.close()
}

// Count is the number of living nodes.
func (t *Table) Count() int {
	t.allocMu.Lock()
	defer t.allocMu.Unlock()
	return t.count
}

func (t *Table) hash(parent uint32, name string) uint32 {
	h := maphash.String(t.seed, name)
	h ^= uint64(parent) * 0x9e3779b97f4a7c15
	h *= 0xff51afd7ed558ccd
	return uint32(h >> 32)
}

func (t *Table) shard(h uint32) *shard { return &t.shards[h%shardCount] }

// find walks the chain. Precondition: s.mu is held.
func (t *Table) find(s *shard, h, parent uint32, name string) uint32 {
	if len(s.buckets) == 0 {
		return 0
	}
	for i := s.buckets[h/shardCount%uint32(len(s.buckets))]; i != 0; {
		r := t.rec(i)
		if r.hash == h && r.parent == parent && t.Name(r) == name {
			return i
		}
		i = r.chain
	}
	return 0
}

// hashLocked puts a record into its chain. Precondition: s.mu is held.
func (t *Table) hashLocked(s *shard, i uint32, h uint32) {
	if s.n >= len(s.buckets) {
		t.grow(s)
	}
	r := t.rec(i)
	atomic.StoreUint32(&r.hash, h)
	b := &s.buckets[h/shardCount%uint32(len(s.buckets))]
	r.chain = *b
	*b = i
	r.hashed = 1
	s.n++
}

// unhashLocked takes a record out of its chain. Precondition: s.mu is held.
func (t *Table) unhashLocked(s *shard, i uint32) {
	r := t.rec(i)
	if r.hashed == 0 {
		return
	}
	p := &s.buckets[r.hash/shardCount%uint32(len(s.buckets))]
	for *p != i {
		p = &t.rec(*p).chain
	}
	*p = r.chain
	r.chain, r.hashed = 0, 0
	s.n--
	if len(s.buckets) > 64 && s.n < len(s.buckets)/8 {
		t.resize(s, len(s.buckets)/4)
	}
}

func (t *Table) grow(s *shard) { t.resize(s, max(16, 2*len(s.buckets))) }

func (t *Table) resize(s *shard, n int) {
	old := s.buckets
	s.buckets = make([]uint32, n)
	for _, i := range old {
		for i != 0 {
			r := t.rec(i)
			next := r.chain
			b := &s.buckets[r.hash/shardCount%uint32(n)]
			r.chain, *b = *b, i
			i = next
		}
	}
}
