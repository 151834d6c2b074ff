package node

import (
	"sync/atomic"
	"unsafe"
)

// The flags of a record. They are set and read under the caller's lock for
// the node.
const (
	Dir      = 1 << iota // a directory
	Upper                // the object (for a directory: a part of it) is in the upper layer
	Orphan               // the upper object is in the work directory, named by the node's id
	Dead                 // no name leads here any more
	Meta                 // metadata in Layer, data in DataLayer (metacopy)
	Origin               // OParent and OName say where the lower object is
	HardLink             // is, or was, found by Link keys
	Sticky               // Delta counts links that the lower file system does not know
	Flushed              // Mtime is what the kernel has set: its writeback cache owns the time
	Indexed              // the upper object is reached through the index of copied-up hard links
	Passed               // the kernel reads and writes the file of its open files itself: Opens.Backing
	PassedUp             // with Passed: that file is the upper one
	NoCaps               // has no security.capability: it was made without, and nobody has set one
	Moved                // another node, whose id is Key, has taken this one's place
)

// passFlags belong to open files, not to what is opened.
const passFlags = Passed | PassedUp

// inlineName is the longest name that is kept in the record itself.
const inlineName = 28

// Rec is one node: 128 bytes, no pointers.
//
// Ino, Type and the generation are immutable. All else is protected by the
// caller's lock for this node, but for the unexported fields.
type Rec struct {
	word    uint64 // gen<<32 | state; atomic, written last
	lookups uint64 // what the kernel holds; atomic
	Ino     uint64 // st_ino as the mount shows it
	Key     uint64 // inode number in the file system of Layer
	OKey    uint64 // the Ino of the Link key that a hard link has in a lower layer
	Mtime   int64  // with Flushed: seconds
	refs    uint32 // children and pins; atomic
	parent  uint32
	OParent uint32 // with Origin: the directory whose lower part holds the object
	chain   uint32 // next record in the hash chain; under shard.mu
	hash    uint32 // under shard.mu
	flags   uint32 // atomic
	Layer   uint16 // 0 = upper, n = n-th lower: where the object is (the topmost part of a directory)
	Data    uint16 // with Meta: where the data is
	OLayer  uint16
	nameLen uint8
	oLen    uint8
	Delta   int32 // names that st_nlink of the object does not tell
	nameOff uint32
	oOff    uint32
	MtimeNs uint32 // with Flushed
	inline  [inlineName]byte
	Type    uint8 // DT_*
	hashed  uint8 // under shard.mu
	_       [2]byte
}

const recSize = int(unsafe.Sizeof(Rec{}))

// The states of a record, in the low half of its word.
const (
	stateFree = iota
	stateLive
	stateDying
)

// Parent is the record index of the directory that holds the node's name.
func (r *Rec) Parent() uint32 { return r.parent }

// LowerParent is the directory whose lower part holds the object.
func (r *Rec) LowerParent() uint32 {
	if r.Has(Origin) {
		return r.OParent
	}
	return r.parent
}

// Lookups is what the kernel holds.
func (r *Rec) Lookups() uint64 { return atomic.LoadUint64(&r.lookups) }

// Has says whether all of the flags are set.
//
// It may be asked without the caller's lock where a flag that is being set can
// not hurt: what is decided by it is then looked at again under the lock.
func (r *Rec) Has(flags uint32) bool { return atomic.LoadUint32(&r.flags)&flags == flags }

// Set sets flags. The caller holds its lock for the node.
func (r *Rec) Set(flags uint32) { atomic.StoreUint32(&r.flags, atomic.LoadUint32(&r.flags)|flags) }

// Clear clears flags. The caller holds its lock for the node.
func (r *Rec) Clear(flags uint32) { atomic.StoreUint32(&r.flags, atomic.LoadUint32(&r.flags)&^flags) }
