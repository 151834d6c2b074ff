package node

import (
	"math/bits"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// rec is the record with this index.
func (t *Table) rec(i uint32) *Rec {
	return (*Rec)(unsafe.Pointer(&t.recs.mem[int(i)*recSize]))
}

// Rec is the record of a node that the caller knows to be alive (the kernel
// holds it, or a child or a pin does).
func (t *Table) Rec(i uint32) *Rec { return t.rec(i) }

// Get is the record behind an id that the kernel sent, nil when it names no
// living node.
func (t *Table) Get(id ID) *Rec {
	i := id.Index()
	if i == 0 || int64(i) >= t.limit.Load() {
		return nil
	}
	r := t.rec(i)
	if atomic.LoadUint64(&r.word) != uint64(id.Gen())<<32|stateLive {
		return nil
	}
	return r
}

// ID is the id of a living record.
func (t *Table) ID(i uint32) ID {
	return ID(atomic.LoadUint64(&t.rec(i).word)&^(1<<32-1) | uint64(i))
}

// alloc takes the lowest free record, so that the table stays dense and the
// tail can be given back.
func (t *Table) alloc() (uint32, syscall.Errno) {
	t.allocMu.Lock()
	defer t.allocMu.Unlock()
	for t.hint < len(t.used) && t.used[t.hint] == ^uint64(0) {
		t.hint++
	}
	if t.hint == len(t.used) {
		t.used = append(t.used, 0)
	}
	i := t.hint*64 + bits.TrailingZeros64(^t.used[t.hint])
	chunk := i * recSize / chunkSize
	if t.recs.touch(chunk) != nil {
		return 0, syscall.ENOMEM
	}
	t.used[t.hint] |= 1 << (i % 64)
	for chunk >= len(t.live) {
		t.live = append(t.live, 0)
	}
	t.live[chunk]++
	t.count++
	if int64(i) >= t.limit.Load() {
		t.limit.Store(int64(i) + 1)
	}
	t.hdr.gen++
	if t.hdr.gen == 0 {
		t.hdr.gen = 1
	}
	r := t.rec(uint32(i))
	r.reset(uint64(t.hdr.gen) << 32)
	return uint32(i), 0
}

// reset clears a record for its next user. A late Forget or tryFree of the one
// before may still look at it, and finds a node that is in use.
func (r *Rec) reset(word uint64) {
	atomic.StoreUint64(&r.word, word)
	atomic.StoreUint64(&r.lookups, 0)
	atomic.StoreUint32(&r.refs, 0)
	atomic.StoreUint32(&r.hash, 0)
	atomic.StoreUint32(&r.flags, 0)
	r.Ino, r.Key, r.OKey, r.Mtime, r.MtimeNs = 0, 0, 0, 0, 0
	r.parent, r.OParent, r.chain = 0, 0, 0
	r.Layer, r.Data, r.OLayer, r.Delta = 0, 0, 0, 0
	r.nameLen, r.nameOff, r.oLen, r.oOff = 0, 0, 0, 0
	r.Type, r.hashed = 0, 0
}

// put gives a record back.
func (t *Table) put(i uint32) {
	t.allocMu.Lock()
	defer t.allocMu.Unlock()
	r := t.rec(i)
	t.dropNames(r)
	atomic.StoreUint64(&r.word, stateFree)
	t.used[i/64] &^= 1 << (i % 64)
	t.hint = min(t.hint, int(i/64))
	t.count--
	chunk := int(i) * recSize / chunkSize
	if t.live[chunk]--; t.live[chunk] == 0 {
		t.recs.release(chunk)
	}
}

func (t *Table) dropNames(r *Rec) {
	if int(r.nameLen) > len(r.inline) {
		t.names.release(r.nameOff, int(r.nameLen))
	}
	r.nameLen, r.nameOff = 0, 0
	t.names.release(r.oOff, int(r.oLen))
	r.oLen, r.oOff = 0, 0
}

// setName gives an unhashed record its name.
func (t *Table) setName(r *Rec, name string) syscall.Errno {
	t.allocMu.Lock()
	defer t.allocMu.Unlock()
	oldLen, oldOff := int(r.nameLen), r.nameOff
	if len(name) <= len(r.inline) {
		copy(r.inline[:], name)
		r.nameOff = 0
	} else {
		off, err := t.names.alloc(name)
		if err != nil {
			return syscall.ENOMEM
		}
		r.nameOff = off
	}
	r.nameLen = uint8(len(name))
	if oldLen > len(r.inline) {
		t.names.release(oldOff, oldLen)
	}
	return 0
}

// Name is the node's name; the string is a view of the table and valid only
// while the caller's lock for the node is held.
func (t *Table) Name(r *Rec) string {
	if int(r.nameLen) <= len(r.inline) {
		return unsafe.String(&r.inline[0], int(r.nameLen))
	}
	return t.names.get(r.nameOff, int(r.nameLen))
}

// LowerName is the object's name in LowerParent; valid like Name's.
func (t *Table) LowerName(r *Rec) string {
	if r.oLen > 0 {
		return t.names.get(r.oOff, int(r.oLen))
	}
	return t.Name(r)
}

// SetOrigin keeps where the lower object is before the node's place in the
// merged tree changes. A second call changes nothing: lowers do not move. The
// caller holds its lock for the node.
func (t *Table) SetOrigin(r *Rec) syscall.Errno {
	if r.Has(Origin) {
		return 0
	}
	t.allocMu.Lock()
	off, err := t.names.alloc(t.Name(r))
	t.allocMu.Unlock()
	if err != nil {
		return syscall.ENOMEM
	}
	r.oOff, r.oLen = off, r.nameLen
	r.OParent = r.parent
	atomic.AddUint32(&t.rec(r.parent).refs, 1)
	r.Set(Origin)
	return 0
}
