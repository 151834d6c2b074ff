package node

import (
	"sync/atomic"
	"unsafe"
)

// header takes the first headerRecs records but one: record 1 is the root
// (that is what FUSE calls it), so the header lives in record 0 and its redo
// slot in those after the root. The layout is part of the format: a change
// raises formatVersion.
type header struct {
	magic    uint64
	version  uint32
	recSize  uint32
	gen      uint32 // the last generation given out
	_        uint32
	nameBump uint64 // end of the used part of the name arena, in units
}

const (
	magic         = 0x65646f6e73796c70 // "plysnode"
	formatVersion = 1
	headerRecs    = 8 // records taken by header, root and redo slot
	redoRec       = 2
)

// redo is the operation on two records that is under way: a new server
// finishes it before it answers anything. valid is written last and cleared
// first.
type redo struct {
	valid     uint32
	node      uint32 // moved
	parent    uint32 // its new parent
	gone      uint32 // the node that lost its name, or 0
	goneFlags uint32
	nameLen   uint32
	name      [256]byte
}

func (t *Table) beginRedo(node, parent uint32, name string, gone, goneFlags uint32) {
	r := t.redo()
	r.node, r.parent, r.gone, r.goneFlags = node, parent, gone, goneFlags
	r.nameLen = uint32(copy(r.name[:], name))
	atomic.StoreUint32(&r.valid, 1)
}

func (t *Table) endRedo() { atomic.StoreUint32(&t.redo().valid, 0) }

func (t *Table) redo() *redo {
	return (*redo)(unsafe.Pointer(&t.recs.mem[redoRec*recSize]))
}
