package index

import (
	"hash/crc32"
	"sync"
	"unsafe"
)

// An index file, version 1. All numbers are in the byte order of the machine
// that wrote it; one of another order is refused by its mark.
//
//	0       header, one page: fileHeader and the key
//	4096…   blocks, one for each directory, a directory behind those in it
//
// A block is a blockHeader and then these arrays, each rounded up to 8 bytes:
//
//	entries  []Entry   in any order
//	attrs    []Attr    of the same positions
//	slots    []uint32  hash table of positions+1
//	order    []uint32  positions by hash
//	layers   []uint16  the lists of Entry.below
//	parts    []part    the lower directories that are merged, top first
//	names    bytes
//	texts    bytes     of attrs and parts
//
// The arrays are those of a Dir, so that nothing is decoded: a Dir of the file
// has its slices in the mapping. What a Dir relies on is checked when its
// block is first used.
const (
	fileMagic   = 0x584449_53_46_59_4c_50 // "PLYFSIDX" where the low byte is first
	fileVersion = 1
	headerSize  = 4096
	keyMax      = headerSize - int(unsafe.Sizeof(fileHeader{}))
)

type fileHeader struct {
	Magic   uint64
	Version uint32
	Sizes   uint32 // of Entry and Attr: a compiler that lays them out otherwise is found out
	Length  uint64 // of the file
	Root    uint64 // offset of the root directory's block
	Names   uint64 // how many there are
	Dirs    uint64
	KeyLen  uint32
	Sum     uint32 // of the header's page, taken with Sum 0
}

const layoutSizes = uint32(unsafe.Sizeof(Entry{}))<<16 | uint32(unsafe.Sizeof(Attr{}))

type blockHeader struct {
	Sum     uint32 // of the whole block, taken with Sum 0
	Entries uint32
	Offset  uint64 // of the block itself: one that another place points to is found out
	Length  uint64
	Slots   uint32
	Order   uint32
	Layers  uint32
	Parts   uint32
	Names   uint32
	Texts   uint32
}

// text is a place among a block's texts.
type text struct {
	Off uint32
	Len uint32
}

type part struct {
	Layer uint16
	Flags uint16
	Path  text
}

const partXWhiteouts = 1

// Part is a lower directory that is merged into another.
type Part struct {
	Layer uint16
	// XWhiteouts says that it may hold xattr whiteouts.
	XWhiteouts bool
	// Path is where a redirect led, from the layer's root; "" is the
	// directory's own name in the same layer's part of its parent.
	Path string
}

// The bits of Attr.Flags.
const (
	Known    = 1 << iota // the record is filled in
	NoXattrs             // the object has none that a list of them shows
	Meta                 // a metacopy file: Data, Blocks and the text tell of its data
	Override             // the text is the record of virtual ownership
	Target               // the text is a symbolic link's target
)

// Attr is what a layer says of the object that a name shows.
type Attr struct {
	Ino, Size, Blocks               int64
	Rdev                            uint64 // of a device; of a directory: where the blocks of what is in it begin
	Kid                             uint64 // of a directory: its block; 0: none
	AtimeSec, MtimeSec, CtimeSec    int64
	AtimeNsec, MtimeNsec, CtimeNsec uint32
	Mode, Nlink, UID, GID, Blksize  uint32
	text                            text
	Data                            uint16 // with Meta: the layer of the data
	Flags                           uint16
	_                               uint32
}

// table is made when something is checked: every start of a program would pay for it
// (a quarter of a millisecond).
var table = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// round8 rounds a size up.
func round8(n uint64) uint64 { return (n + 7) &^ 7 }

// bytesOf is the memory of a slice.
func bytesOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(s[0]))
}

// cut takes n values off a block. Precondition: they are there, and b is
// aligned to 8 bytes.
func cut[T any](b *[]byte, n uint32) []T {
	var zero T
	size := uint64(n) * uint64(unsafe.Sizeof(zero))
	var s []T
	if n > 0 {
		s = unsafe.Slice((*T)(unsafe.Pointer(&(*b)[0])), n)
	}
	*b = (*b)[round8(size):]
	return s
}

// length is that of the block that the header tells of.
func (h *blockHeader) length() uint64 {
	n := uint64(unsafe.Sizeof(*h))
	for _, a := range [...]struct {
		count uint32
		size  uintptr
	}{
		{h.Entries, unsafe.Sizeof(Entry{})},
		{h.Entries, unsafe.Sizeof(Attr{})},
		{h.Slots, 4},
		{h.Order, 4},
		{h.Layers, 2},
		{h.Parts, unsafe.Sizeof(part{})},
		{h.Names, 1},
		{h.Texts, 1},
	} {
		n += round8(uint64(a.count) * uint64(a.size))
	}
	return n
}
