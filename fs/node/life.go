package node

import (
	"sync/atomic"
	"syscall"
)

// Init is what a new node starts with.
type Init struct {
	Ino   uint64
	Key   uint64
	Flags uint32
	Layer uint16
	Data  uint16
	Type  uint8

	Mtime   int64 // with Flushed
	MtimeNs uint32
}

// Lookup finds the node with this name and counts one look-up for the kernel.
// It returns None when the table has none; the union may still have the file.
func (t *Table) Lookup(parent uint32, name string) ID {
	h := t.hash(parent, name)
	s := t.shard(h)
	s.mu.Lock()
	i := t.find(s, h, parent, name)
	if i == 0 {
		s.mu.Unlock()
		return None
	}
	atomic.AddUint64(&t.rec(i).lookups, 1)
	s.mu.Unlock()
	return t.ID(i)
}

// Pin finds the node with this name and keeps it until Unpin. It counts
// nothing for the kernel.
func (t *Table) Pin(parent uint32, name string) ID {
	h := t.hash(parent, name)
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := t.find(s, h, parent, name)
	if i == 0 {
		return None
	}
	atomic.AddUint32(&t.rec(i).refs, 1)
	return t.ID(i)
}

// Hold is Pin for a node that the caller knows to be alive.
func (t *Table) Hold(id ID) { atomic.AddUint32(&t.rec(id.Index()).refs, 1) }

// AddLookup counts one look-up of a node that the caller knows to be alive.
func (t *Table) AddLookup(id ID) { atomic.AddUint64(&t.rec(id.Index()).lookups, 1) }

// Unpin undoes Pin and Hold.
func (t *Table) Unpin(id ID) { t.unref(id.Index()) }

// Insert makes the node for a name, or finds it when another request made it
// first, and counts one look-up. parent must be alive.
func (t *Table) Insert(parent uint32, name string, in *Init) (id ID, made bool, e syscall.Errno) {
	h := t.hash(parent, name)
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := t.find(s, h, parent, name); i != 0 {
		atomic.AddUint64(&t.rec(i).lookups, 1)
		return t.ID(i), false, 0
	}
	i, e := t.fill(parent, name, in)
	if e != 0 {
		return None, false, e
	}
	t.hashLocked(s, i, h)
	return t.ID(i), true, 0
}

// InsertDead makes a node that no name leads to (O_TMPFILE), with one look-up.
func (t *Table) InsertDead(parent uint32, in *Init) (ID, syscall.Errno) {
	i, e := t.fill(parent, "", in)
	if e != 0 {
		return None, e
	}
	return t.ID(i), 0
}

func (t *Table) fill(parent uint32, name string, in *Init) (uint32, syscall.Errno) {
	i, e := t.alloc()
	if e != 0 {
		return 0, e
	}
	r := t.rec(i)
	if e := t.setName(r, name); e != 0 {
		t.put(i)
		return 0, e
	}
	r.Ino, r.Key, r.Layer, r.Data, r.Type = in.Ino, in.Key, in.Layer, in.Data, in.Type
	atomic.StoreUint32(&r.flags, in.Flags)
	r.Mtime, r.MtimeNs = in.Mtime, in.MtimeNs
	r.parent = parent
	atomic.StoreUint64(&r.lookups, 1)
	atomic.AddUint32(&t.rec(parent).refs, 1)
	atomic.StoreUint64(&r.word, r.word|stateLive)
	return i, 0
}

// Forget takes n look-ups back. A node that nothing holds any more is freed,
// and so are the parents that only it held.
func (t *Table) Forget(id ID, n uint64) {
	r := t.Get(id)
	if r == nil || id == Root {
		return
	}
	for {
		have := atomic.LoadUint64(&r.lookups)
		left := have - min(have, n)
		if !atomic.CompareAndSwapUint64(&r.lookups, have, left) {
			continue
		}
		if left == 0 {
			t.tryFree(id.Index())
		}
		return
	}
}

func (t *Table) unref(i uint32) {
	r := t.rec(i)
	if atomic.AddUint32(&r.refs, ^uint32(0)) == 0 && atomic.LoadUint64(&r.lookups) == 0 && ID(i) != Root {
		t.tryFree(i)
	}
}

// tryFree frees the node if nothing holds it. Look-ups are only added under
// the lock of the shard that the node is hashed in, or under linkMu, so what
// is checked under both stays true.
func (t *Table) tryFree(i uint32) {
	for i != 0 && ID(i) != Root {
		r := t.rec(i)
		s := t.shard(atomic.LoadUint32(&r.hash))
		s.mu.Lock()
		if t.shard(atomic.LoadUint32(&r.hash)) != s { // raced with Move
			s.mu.Unlock()
			continue
		}
		t.linkMu.Lock()
		w := atomic.LoadUint64(&r.word)
		if w&(1<<32-1) != stateLive || atomic.LoadUint64(&r.lookups) != 0 || atomic.LoadUint32(&r.refs) != 0 {
			t.linkMu.Unlock()
			s.mu.Unlock()
			return
		}
		id := t.ID(i)
		t.unhashLocked(s, i)
		if r.Has(HardLink) {
			t.dropLinksLocked(i)
		}
		atomic.StoreUint64(&r.word, w&^(1<<32-1)|stateDying)
		t.linkMu.Unlock()
		s.mu.Unlock()

		if t.OnFree != nil {
			t.OnFree(id, r)
		}
		parent, origin := r.parent, uint32(0)
		if r.Has(Origin) {
			origin = r.OParent
		}
		t.put(i)
		if origin != 0 {
			t.unref(origin)
		}
		// The parent in this loop and not by recursion: a path may be
		// thousands of directories deep.
		p := t.rec(parent)
		if atomic.AddUint32(&p.refs, ^uint32(0)) != 0 || atomic.LoadUint64(&p.lookups) != 0 {
			return
		}
		i = parent
	}
}

// Unhash takes the node's name away from look-ups; the node itself stays. The
// caller holds its lock for the node.
func (t *Table) Unhash(i uint32) {
	r := t.rec(i)
	s := t.shard(r.hash)
	s.mu.Lock()
	t.unhashLocked(s, i)
	s.mu.Unlock()
}

// Move gives node i a new place. A node that has the place already must have
// been unhashed before; gone is that node, for the redo slot. The caller holds
// its lock for i.
func (t *Table) Move(i uint32, parent uint32, name string, gone uint32) syscall.Errno {
	old := t.rec(i).parent
	if e := t.move(i, parent, name, gone); e != 0 {
		return e
	}
	if old != parent {
		t.unref(old) // with no lock held: it may be the last that held it
	}
	return 0
}

func (t *Table) move(i uint32, parent uint32, name string, gone uint32) syscall.Errno {
	t.moveMu.Lock()
	defer t.moveMu.Unlock()
	r := t.rec(i)
	h := t.hash(parent, name)
	a, b := t.shard(r.hash), t.shard(h)
	first, second := a, b
	if r.hash%shardCount > h%shardCount {
		first, second = b, a
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	if second != first {
		second.mu.Lock()
		defer second.mu.Unlock()
	}
	t.beginRedo(i, parent, name, gone, Dead)
	defer t.endRedo()
	t.unhashLocked(a, i)
	if e := t.setName(r, name); e != 0 {
		t.hashLocked(a, i, r.hash)
		return e
	}
	if r.parent != parent {
		atomic.AddUint32(&t.rec(parent).refs, 1)
		r.parent = parent
	}
	t.hashLocked(b, i, h)
	return 0
}

// FindLink finds a file by one of its keys and counts one look-up.
func (t *Table) FindLink(k Link) ID {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	i, ok := t.links[k]
	if !ok {
		return None
	}
	atomic.AddUint64(&t.rec(i).lookups, 1)
	return t.ID(i)
}

// PinLink is FindLink that pins instead of counting.
func (t *Table) PinLink(k Link) ID {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	i, ok := t.links[k]
	if !ok {
		return None
	}
	atomic.AddUint32(&t.rec(i).refs, 1)
	return t.ID(i)
}

// AddLink makes the node found by the key. The caller holds its lock for the
// node.
func (t *Table) AddLink(i uint32, k Link) {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	t.rec(i).Set(HardLink)
	if t.links[k] != i {
		t.links[k] = i
		t.keys[i] = append(t.keys[i], k)
	}
}

// DropLinks makes the node unreachable by keys: its inode number may be used
// again by another file. The caller holds its lock for the node.
func (t *Table) DropLinks(i uint32) {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	t.dropLinksLocked(i)
}

func (t *Table) dropLinksLocked(i uint32) {
	for _, k := range t.keys[i] {
		if t.links[k] == i {
			delete(t.links, k)
		}
	}
	delete(t.keys, i)
}
