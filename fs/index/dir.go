package index

import (
	"slices"
	"unsafe"
)

// Dir is the merged index of one directory. The zero value is an empty
// directory.
type Dir struct {
	names  []byte
	ents   []Entry
	slots  []uint32 // open addressing: index+1 into ents
	layers []uint16 // lists of lower layers, entry by entry
	order  []uint32 // ents by hash, for ReadDir; nil when stale
	live   int      // visible or not, but no tombstone
}

// Clone is a copy of its own.
func (d *Dir) Clone() *Dir {
	c := *d
	c.names, c.ents, c.slots = slices.Clone(d.names), slices.Clone(d.ents), slices.Clone(d.slots)
	c.layers, c.order = slices.Clone(d.layers), slices.Clone(d.order)
	return &c
}

// Positions is how many there are of Position: entries, and what was one.
func (d *Dir) Positions() int { return len(d.ents) }

// Position numbers an entry of this Dir, for as long as nothing is added.
func (d *Dir) Position(e *Entry) int {
	return int((uintptr(unsafe.Pointer(e)) - uintptr(unsafe.Pointer(&d.ents[0]))) / unsafe.Sizeof(*e))
}

// Len is the number of names known, whiteouts included.
func (d *Dir) Len() int { return d.live }

// hashName is FNV-1a with a finalizer. It must stay the same for ever: it is
// the offset that telldir(3) gives out.
func hashName(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(name); i++ {
		h ^= uint64(name[i])
		h *= 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 29
	// 62 bits, of which the low ones tell names of one hash apart; 0, 1 and 2
	// are taken by the start, "." and "..".
	return max(h>>2&^rankMask, rankMask+1)
}

// rankMask is the part of an offset that numbers the names of one hash.
const rankMask = 0xff

// Name is the entry's name: a view that is valid until the next Add.
func (d *Dir) Name(e *Entry) string {
	if e.nameLen == 0 {
		return ""
	}
	return unsafe.String(&d.names[e.nameOff], int(e.nameLen))
}

// Find is the entry with this name, nil when no layer has it. The pointer is
// valid until the next Add.
func (d *Dir) Find(name string) *Entry {
	if len(d.slots) == 0 {
		return nil
	}
	h := hashName(name)
	mask := uint64(len(d.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := d.slots[i]
		if s == 0 {
			return nil
		}
		if e := &d.ents[s-1]; e.hash == h && d.Name(e) == name {
			if e.flags&gone != 0 {
				return nil
			}
			return e
		}
	}
}

// Add is Find that makes the entry when there is none.
func (d *Dir) Add(name string) *Entry {
	if 4*(len(d.ents)+1) > 3*len(d.slots) {
		d.rehash()
	}
	h := hashName(name)
	mask := uint64(len(d.slots) - 1)
	i := h & mask
	for ; d.slots[i] != 0; i = (i + 1) & mask {
		if e := &d.ents[d.slots[i]-1]; e.hash == h && d.Name(e) == name {
			if e.flags&gone != 0 {
				off, n := e.nameOff, e.nameLen
				*e = Entry{hash: h, nameOff: off, nameLen: n}
				d.live++
			}
			return e
		}
	}
	d.ents = append(d.ents, Entry{hash: h, nameOff: uint32(len(d.names)), nameLen: uint8(len(name))})
	d.names = append(d.names, name...)
	d.slots[i] = uint32(len(d.ents))
	d.live++
	d.order = nil
	return &d.ents[len(d.ents)-1]
}

// Settle drops the entry when neither side has anything there any more.
func (d *Dir) Settle(e *Entry) {
	if e.Upper == None && e.Lower == None && e.flags&gone == 0 {
		e.flags |= gone
		d.live--
	}
}

// rehash makes room, and throws the tombstones away when they are many.
func (d *Dir) rehash() {
	if d.live < len(d.ents)*3/4 {
		d.compact()
	}
	n := 8
	for 3*n < 4*2*(len(d.ents)+1) {
		n *= 2
	}
	d.slots = make([]uint32, n)
	mask := uint64(n - 1)
	for k := range d.ents {
		i := d.ents[k].hash & mask
		for d.slots[i] != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = uint32(k + 1)
	}
}

func (d *Dir) compact() {
	names := make([]byte, 0, len(d.names))
	ents := d.ents[:0]
	for _, e := range d.ents {
		if e.flags&gone != 0 {
			continue
		}
		off := uint32(len(names))
		names = append(names, d.names[e.nameOff:e.nameOff+uint32(e.nameLen)]...)
		e.nameOff = off
		ents = append(ents, e)
	}
	d.names, d.ents, d.order = names, ents, nil
}

// Below lists the lower layers that have a directory of this name which may be
// merged, top first, appended to buf.
func (d *Dir) Below(e *Entry, buf []uint16) []uint16 {
	if e.nBelow == 0 {
		if e.Lower == dtDir {
			buf = append(buf, e.Layer)
		}
		return buf
	}
	return append(buf, d.layers[e.below:e.below+uint32(e.nBelow)]...)
}

// Sorted is whether Walk may run without changing the index.
func (d *Dir) Sorted() bool { return d.order != nil || len(d.ents) == 0 }

// Sort prepares Walk.
func (d *Dir) Sort() {
	if d.Sorted() {
		return
	}
	d.order = make([]uint32, len(d.ents))
	for i := range d.order {
		d.order[i] = uint32(i)
	}
	slices.SortFunc(d.order, func(a, b uint32) int {
		x, y := &d.ents[a], &d.ents[b]
		switch {
		case x.hash < y.hash:
			return -1
		case x.hash > y.hash:
			return 1
		case d.Name(x) < d.Name(y):
			return -1
		}
		return 1
	})
}

// Walk visits the visible entries whose offset is greater than after, in the
// order of their offsets. An offset is the hash of the name, so it stays good
// whatever happens to the directory, across remounts too; names of one hash (one
// pair in some thousand directories of a million names) are numbered. Offsets
// grow strictly: a reader always gets on, whatever names a layer was made with.
// Of more than 256 names of one hash, which only malice makes, some may be
// left out.
// Precondition: Sorted.
func (d *Dir) Walk(after uint64, fn func(e *Entry, name string, next uint64) bool) {
	lo, hi := 0, len(d.order)
	for first := after &^ rankMask; lo < hi; {
		m := (lo + hi) / 2
		if d.ents[d.order[m]].hash < first {
			lo = m + 1
		} else {
			hi = m
		}
	}
	var hash, rank uint64
	for _, k := range d.order[lo:] {
		e := &d.ents[k]
		if e.hash != hash {
			hash, rank = e.hash, 0
		} else {
			rank = min(rank+1, rankMask)
		}
		if hash|rank <= after || e.flags&gone != 0 || !e.Visible() {
			continue
		}
		if !fn(e, d.Name(e), hash|rank) {
			return
		}
	}
}

// All visits every name, hidden ones too, in no order. fn must not Add.
func (d *Dir) All(fn func(e *Entry, name string) bool) {
	for i := range d.ents {
		if e := &d.ents[i]; e.flags&gone == 0 && !fn(e, d.Name(e)) {
			return
		}
	}
}

// CutOff forgets all that lower layers have: the directory has become opaque.
func (d *Dir) CutOff() {
	for i := range d.ents {
		e := &d.ents[i]
		if e.flags&gone != 0 {
			continue
		}
		e.Lower, e.Layer, e.nBelow = None, 0, 0
		if e.Upper == Whiteout {
			e.Upper = None
		}
		d.Settle(e)
	}
}
