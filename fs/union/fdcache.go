package union

import (
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// Kinds of cached descriptors.
const (
	kindDir  = iota // O_PATH descriptor of a directory
	kindFile        // data; writable when it is of the upper layer
)

// fdKey names a cached descriptor. It holds the node's generation: whatever was
// left in the cache for an earlier user of the record is never found.
type fdKey struct {
	id    node.ID
	layer uint16
	kind  uint8
}

// key names a descriptor of a living node.
func (fs *FS) key(i uint32, layer uint16, kind uint8) fdKey {
	return fdKey{fs.t.ID(i), layer, kind}
}

// fdCache keeps descriptors of layer objects, the least recently used are closed first.
// A pinned one stays open until it is released, even when it was dropped
// meanwhile. So the server's descriptors stay under its rlimit whatever the
// clients do.
type fdCache struct {
	shards [fdShards]fdShard
}

const fdShards = 8

type fdShard struct {
	mu    sync.Mutex
	slots []fdSlot
	byKey map[fdKey]int32
	free  int32 // list of free slots through next, -1 ends
	head  int32 // most recently used
	tail  int32
	n     int
	max   int
}

type fdSlot struct {
	key        fdKey
	fd         int
	prev, next int32
	pins       int32
	dropped    bool
}

// pinned is a descriptor in use. The zero value is none.
type pinned struct {
	fd    int
	shard *fdShard
	slot  int32
}

// keep is a descriptor that lives as long as the FS does.
func keep(fd int) pinned { return pinned{fd: fd} }

func newFDCache(limit int) *fdCache {
	c := &fdCache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.byKey = map[fdKey]int32{}
		s.free, s.head, s.tail = -1, -1, -1
		s.max = max(limit/fdShards, 4)
	}
	return c
}

func (c *fdCache) shard(k fdKey) *fdShard {
	return &c.shards[((uint64(k.id)^uint64(k.layer)<<40)*0x9e3779b97f4a7c15)>>61]
}

// get pins the descriptor if there is one.
func (c *fdCache) get(k fdKey) (pinned, bool) {
	s := c.shard(k)
	s.mu.Lock()
	i, ok := s.byKey[k]
	if !ok {
		s.mu.Unlock()
		return pinned{}, false
	}
	e := &s.slots[i]
	e.pins++
	if s.head != i {
		s.unlink(i)
		s.push(i)
	}
	p := pinned{e.fd, s, i}
	s.mu.Unlock()
	return p, true
}

// put hands a descriptor over and pins it. Where another request was faster,
// its descriptor is used and this one closed.
func (c *fdCache) put(k fdKey, fd int) pinned {
	s := c.shard(k)
	s.mu.Lock()
	if i, ok := s.byKey[k]; ok {
		e := &s.slots[i]
		e.pins++
		p := pinned{e.fd, s, i}
		s.mu.Unlock()
		sys.Close(fd)
		return p
	}
	old := s.evict(s.max - 1)
	i := s.free
	if i >= 0 {
		s.free = s.slots[i].next
	} else {
		s.slots = append(s.slots, fdSlot{})
		i = int32(len(s.slots) - 1)
	}
	s.slots[i] = fdSlot{key: k, fd: fd, pins: 1}
	s.byKey[k] = i
	s.n++
	s.push(i)
	s.mu.Unlock()
	closeAll(old)
	return pinned{fd, s, i}
}

// release ends a use.
func (p pinned) release() {
	s := p.shard
	if s == nil {
		return
	}
	s.mu.Lock()
	e := &s.slots[p.slot]
	e.pins--
	fd := -1
	if e.dropped && e.pins == 0 {
		fd = e.fd
		e.next = s.free
		s.free = p.slot
	}
	s.mu.Unlock()
	if fd >= 0 {
		sys.Close(fd)
	}
}

// drop forgets the descriptor; it is closed when nobody uses it any more.
func (c *fdCache) drop(k fdKey) {
	s := c.shard(k)
	s.mu.Lock()
	fd := -1
	if i, ok := s.byKey[k]; ok {
		fd = s.remove(i)
	}
	s.mu.Unlock()
	if fd >= 0 {
		sys.Close(fd)
	}
}

// remove takes slot i out; it answers the descriptor if it can be closed now.
func (s *fdShard) remove(i int32) int {
	e := &s.slots[i]
	delete(s.byKey, e.key)
	s.unlink(i)
	s.n--
	if e.pins > 0 {
		e.dropped = true
		return -1
	}
	fd := e.fd
	e.next = s.free
	s.free = i
	return fd
}

// evict makes room so that at most n unpinned descriptors stay.
func (s *fdShard) evict(n int) (fds [4]int) {
	k := 0
	for i := s.tail; i >= 0 && s.n > n && k < len(fds); {
		prev := s.slots[i].prev
		if s.slots[i].pins == 0 {
			fds[k] = s.remove(i)
			k++
		}
		i = prev
	}
	for ; k < len(fds); k++ {
		fds[k] = -1
	}
	return fds
}

// shrink closes what is not in use: the answer to EMFILE.
func (c *fdCache) shrink() {
	for i := range c.shards {
		s := &c.shards[i]
		for again := true; again; {
			s.mu.Lock()
			n := s.n
			fds := s.evict(0)
			again = s.n < n
			s.mu.Unlock()
			closeAll(fds)
		}
	}
}

func closeAll(fds [4]int) {
	for _, fd := range fds {
		if fd >= 0 {
			sys.Close(fd)
		}
	}
}

func (s *fdShard) unlink(i int32) {
	e := &s.slots[i]
	if e.prev >= 0 {
		s.slots[e.prev].next = e.next
	} else {
		s.head = e.next
	}
	if e.next >= 0 {
		s.slots[e.next].prev = e.prev
	} else {
		s.tail = e.prev
	}
}

func (s *fdShard) push(i int32) {
	e := &s.slots[i]
	e.prev, e.next = -1, s.head
	if s.head >= 0 {
		s.slots[s.head].prev = i
	} else {
		s.tail = i
	}
	s.head = i
}

// open runs fn, and once more with an emptied cache when the descriptors have
// run out.
func (c *fdCache) open(fn func() (int, syscall.Errno)) (int, syscall.Errno) {
	fd, e := fn()
	if e == unix.EMFILE || e == unix.ENFILE {
		c.shrink()
		fd, e = fn()
	}
	return fd, e
}
