package node

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FDs are the descriptors of the table's memory: the records and the names.
// Who holds them can map the table after the process that made it has died.
// They are -1 when the memory is on the Go heap.
func (t *Table) FDs() (recs, names int) { return t.recs.fd, t.names.a.fd }

// Open maps the table that a dead process has left. It takes the descriptors
// over. What that process had begun is finished or undone: a record is as its
// last store left it. Pins are gone with their owner: the caller calls Sweep
// when it can have nodes freed.
//
// Nothing in the memory is trusted: a table that isn't sound is an error.
func Open(recsFD, namesFD int) (*Table, error) {
	recs, err := openArena(recsFD, recsLimit)
	if err != nil {
		unix.Close(namesFD)
		return nil, err
	}
	nm, err := openArena(namesFD, namesLimit)
	if err != nil {
		recs.close()
		return nil, err
	}
	t := &Table{recs: recs, seed: maphash.MakeSeed(), links: map[Link]uint32{}, keys: map[uint32][]Link{}}
	t.names = names{a: nm}
	if err := t.restore(); err != nil {
		t.Close()
		return nil, fmt.Errorf("node table: %w", err)
	}
	return t, nil
}

func (t *Table) restore() error {
	if !t.recs.has(0) {
		return fmt.Errorf("it is empty")
	}
	t.hdr = (*header)(unsafe.Pointer(&t.recs.mem[0]))
	t.names.hdr = t.hdr
	switch h := t.hdr; {
	case h.magic != magic:
		return fmt.Errorf("this is none")
	case h.version != formatVersion || h.recSize != uint32(recSize):
		return fmt.Errorf("it has format %d, this program reads %d", h.version, formatVersion)
	}
	r := &restorer{t: t}
	r.scan()
	if o := t.redo(); o.valid != 0 && r.alive(o.node) {
		// Its name may be half the old one and half the new.
		rec := t.rec(o.node)
		rec.nameLen, rec.nameOff = 0, 0
	}
	for _, step := range []func() error{r.checkNames, r.redo, r.checkParents} {
		if err := step(); err != nil {
			return err
		}
	}
	r.link()
	return nil
}

// restorer is one Open.
type restorer struct {
	t      *Table
	living []uint32 // without the root
	size   uint32   // records below it may be living
}

func (r *restorer) alive(i uint32) bool {
	return i != 0 && i < r.size && r.t.used[i/64]&(1<<(i%64)) != 0
}

// scan finds the living records.
func (r *restorer) scan() {
	t := r.t
	per := chunkSize / recSize
	chunks := t.recs.size / chunkSize
	t.used = make([]uint64, max(chunks*per/64, 1))
	t.used[0] = 1<<headerRecs - 1
	t.live = make([]int32, chunks)
	t.live[0], t.count = 1, 1
	t.limit.Store(headerRecs)
	r.size = headerRecs
	for c := range chunks {
		if !t.recs.has(c) {
			continue
		}
		for i := max(c*per, headerRecs); i < (c+1)*per; i++ {
			rec := t.rec(uint32(i))
			if rec.word&(1<<32-1) != stateLive {
				rec.word = stateFree
				continue
			}
			t.used[i/64] |= 1 << (i % 64)
			t.live[c]++
			t.count++
			r.living = append(r.living, uint32(i))
			r.size = uint32(i) + 1
		}
		if t.live[c] == 0 {
			t.recs.release(c)
		}
	}
	t.limit.Store(int64(r.size))
	root := t.rec(Root.Index())
	root.word, root.lookups, root.Type, root.refs = stateLive, 1, unix.DT_DIR, 0
	root.parent, root.nameLen, root.oLen = 0, 0, 0
	root.flags = root.flags&(Upper|Flushed) | Dir
}

// block is a name in the arena, in units.
type block struct{ off, len uint32 }

// checkNames makes the free lists of the name arena: what lies between the
// names that are in use.
func (r *restorer) checkNames() error {
	t, s := r.t, &r.t.names
	end := uint64(s.a.size / nameUnit)
	if t.hdr.nameBump > end {
		return fmt.Errorf("the names end beyond their memory")
	}
	var inUse []block
	for _, i := range r.living {
		rec := t.rec(i)
		for _, n := range [...]struct {
			off  *uint32
			size int
			in   bool
		}{{&rec.nameOff, int(rec.nameLen), int(rec.nameLen) > inlineName}, {&rec.oOff, int(rec.oLen), rec.oLen > 0}} {
			if !n.in {
				*n.off = 0 // nobody gives back what there isn't
				continue
			}
			b := block{*n.off, uint32(units(n.size))}
			if b.off == 0 || uint64(b.off)+uint64(b.len) > t.hdr.nameBump {
				return fmt.Errorf("record %d has a name that lies nowhere", i)
			}
			inUse = append(inUse, b)
		}
	}
	slices.SortFunc(inUse, func(a, b block) int { return int(a.off) - int(b.off) })
	s.used = len(inUse)
	at := uint32(1)
	for _, b := range append(inUse, block{uint32(max(t.hdr.nameBump, 1)), 0}) {
		if b.off < at {
			return fmt.Errorf("two names lie in one place")
		}
		for at < b.off {
			u := min(b.off-at, uint32(len(s.free)-1))
			*(*uint32)(unsafe.Pointer(&s.a.mem[int(at)*nameUnit])) = s.free[u]
			s.free[u] = at
			at += u
		}
		at = b.off + b.len
	}
	return nil
}

// redo finishes the operation on two records that was under way.
func (r *restorer) redo() error {
	t, o := r.t, r.t.redo()
	if o.valid == 0 {
		return nil
	}
	defer t.endRedo()
	if !r.alive(o.node) || o.node == Root.Index() || !r.alive(o.parent) || o.nameLen == 0 || o.nameLen > 255 {
		return fmt.Errorf("the move under way is of no node")
	}
	rec := t.rec(o.node)
	if e := t.setName(rec, string(o.name[:o.nameLen])); e != 0 {
		return e
	}
	rec.parent, rec.hashed = o.parent, 1
	if o.gone != 0 && o.gone != o.node && r.alive(o.gone) {
		g := t.rec(o.gone)
		g.flags |= o.goneFlags & Dead
		g.hashed = 0
	}
	return nil
}

// checkParents counts what holds each node and refuses a tree that is none.
func (r *restorer) checkParents() error {
	t := r.t
	for _, i := range r.living {
		t.rec(i).refs = 0
	}
	for _, i := range r.living {
		rec := t.rec(i)
		up := []uint32{rec.parent}
		if rec.flags&Origin != 0 {
			up = append(up, rec.OParent)
		}
		for _, p := range up {
			if !r.alive(p) || t.rec(p).flags&Dir == 0 {
				return fmt.Errorf("record %d has no parent", i)
			}
			t.rec(p).refs++
		}
	}
	for _, parent := range []func(*Rec) uint32{(*Rec).Parent, (*Rec).LowerParent} {
		seen := make([]uint32, r.size) // by which walk
		for n, i := range r.living {
			for ; i != Root.Index() && seen[i] == 0; i = parent(t.rec(i)) {
				seen[i] = uint32(n) + 1
			}
			if i != Root.Index() && seen[i] == uint32(n)+1 {
				return fmt.Errorf("record %d is in itself", i)
			}
		}
	}
	return nil
}

// link makes the records found by their names and keys.
func (r *restorer) link() {
	t := r.t
	for _, i := range r.living {
		rec := t.rec(i)
		linked := rec.hashed == 1 && rec.flags&Dead == 0
		rec.hashed, rec.chain = 0, 0
		name := t.Name(rec)
		h := t.hash(rec.parent, name)
		s := t.shard(h)
		if linked && t.find(s, h, rec.parent, name) == 0 {
			t.hashLocked(s, i, h)
		} else {
			rec.flags |= Dead // its maker or remover died in between
		}
		if rec.flags&HardLink == 0 || rec.flags&Dir != 0 {
			continue
		}
		if rec.flags&Upper != 0 {
			t.AddLink(i, Link{Layer: 0, Ino: rec.Key})
		}
		if rec.OLayer > 0 {
			t.AddLink(i, Link{Layer: rec.OLayer, Ino: rec.OKey})
		}
	}
}

// Sweep frees the nodes that nothing holds: only a pin did, whose owner died.
func (t *Table) Sweep() {
	for id := range t.Live() {
		r := t.rec(id.Index())
		if atomic.LoadUint64(&r.lookups) == 0 && atomic.LoadUint32(&r.refs) == 0 {
			t.tryFree(id.Index())
		}
	}
}
