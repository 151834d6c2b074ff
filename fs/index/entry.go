package index

// Types of an entry beside the DT_* values of the kernel.
const (
	None     = 0    // this side has no such name
	Unknown  = 0xfe // this side has something, and the object must be looked at to know what
	Whiteout = 0xff // this side has a whiteout (lower: something above the entry hides it)
)

// Entry is one name of a merged directory.
type Entry struct {
	hash uint64

	// Ino is the inode number as the mount shows it.
	Ino     uint64
	nameOff uint32
	below   uint32 // start of this entry's list in Dir.layers
	nBelow  uint16 // 0: the list is Layer alone
	// Layer is the topmost lower layer that shows the name (1 is the first
	// lower), when Lower is a type.
	Layer   uint16
	nameLen uint8

	// Upper is the type in the upper layer, None, or Whiteout.
	Upper uint8
	// Lower is the type in the merged lowers, None, or Whiteout when a lower
	// layer hides what is below it.
	Lower uint8
	flags uint8
}

const (
	closed = 1 << iota // no directory below is merged any more
	gone               // tombstone
)

// Visible says whether the mount shows the name.
func (e *Entry) Visible() bool {
	return e.Upper != Whiteout && (e.Upper != None || e.HasLower())
}

// Type is the type that the mount shows: a DT_* value, which for Unknown is
// DT_UNKNOWN.
func (e *Entry) Type() uint8 {
	t := e.Lower
	if e.Upper != None {
		t = e.Upper
	}
	if t == Unknown {
		return 0
	}
	return t
}

// HasLower says whether the name would show if the upper layer had nothing
// there.
func (e *Entry) HasLower() bool { return e.Lower != None && e.Lower != Whiteout }
