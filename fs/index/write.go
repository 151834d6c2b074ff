package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/plyfs/plyfs/fs/sys"
)

// Writer writes an index file, directory by directory: what is in a directory
// before itself. It holds no more than the directory that is written.
type Writer struct {
	fd    int
	off   uint64
	key   []byte
	root  uint64
	names uint64
	dirs  uint64
}

// NewWriter writes to fd, which is empty and stays the caller's.
func NewWriter(fd int, key []byte) (*Writer, error) {
	if len(key) > keyMax {
		return nil, fmt.Errorf("the index file can't hold the identity of so many layers")
	}
	return &Writer{fd: fd, off: headerSize, key: key}, nil
}

// Here is where the next block will be.
func (w *Writer) Here() uint64 { return w.off }

// Contents is what is to be written of a directory. Dir belongs to somebody
// else and isn't changed; Sorted is a precondition.
type Contents struct {
	Dir   *Dir
	attrs []Attr
	texts []byte
	parts []part
}

// NewContents is for a directory of which only the names are known.
func NewContents(d *Dir) *Contents { return &Contents{Dir: d, attrs: make([]Attr, d.Positions())} }

// Attr is the record of an entry, to be filled in.
func (c *Contents) Attr(e *Entry) *Attr { return &c.attrs[c.Dir.Position(e)] }

// SetText gives an entry's attributes their text.
func (c *Contents) SetText(a *Attr, s string) { a.text = c.keep(s) }

func (c *Contents) keep(s string) text {
	t := text{Off: uint32(len(c.texts)), Len: uint32(len(s))}
	c.texts = append(c.texts, s...)
	return t
}

// AddPart adds a lower directory, the top one first.
func (c *Contents) AddPart(p Part) {
	d := part{Layer: p.Layer, Path: c.keep(p.Path)}
	if p.XWhiteouts {
		d.Flags |= partXWhiteouts
	}
	c.parts = append(c.parts, d)
}

// zeros are what a piece is rounded up with.
var zeros [8]byte

// errTooBig is for a directory that the numbers of a block can't hold.
var errTooBig = errors.New("a directory is too big for an index file")

// Write writes a directory and says where its block is. The last one is the
// root.
func (w *Writer) Write(c *Contents) (uint64, error) {
	d := c.Dir
	if d.live != len(d.ents) { // tombstones have no place in a file
		return 0, errors.New("a directory that is in use can't be written to an index file")
	}
	if uint64(len(c.texts)) >= 1<<32-1<<13 || uint64(len(d.names)) >= 1<<32-1<<13 || len(d.ents) >= 1<<30 {
		return 0, errTooBig
	}
	h := blockHeader{
		Entries: uint32(len(d.ents)), Offset: w.off, Slots: uint32(len(d.slots)), Order: uint32(len(d.order)),
		Layers: uint32(len(d.layers)), Parts: uint32(len(c.parts)), Names: uint32(len(d.names)), Texts: uint32(len(c.texts)),
	}
	h.Length = h.length()
	pieces := [][]byte{bytesOf(unsafe.Slice(&h, 1))}
	for _, p := range [...][]byte{
		bytesOf(d.ents), bytesOf(c.attrs), bytesOf(d.slots), bytesOf(d.order),
		bytesOf(d.layers), bytesOf(c.parts), d.names, c.texts,
	} {
		if len(p) > 0 {
			pieces = append(pieces, p)
		}
		if pad := round8(uint64(len(p))) - uint64(len(p)); pad > 0 {
			pieces = append(pieces, zeros[:pad])
		}
	}
	sum := uint32(0)
	for _, p := range pieces {
		sum = crc32.Update(sum, table(), p)
	}
	h.Sum = sum
	if e := sys.Pwritev(w.fd, pieces, int64(w.off)); e != 0 {
		return 0, e
	}
	w.root = w.off
	w.off += h.Length
	w.names += uint64(len(d.ents))
	w.dirs++
	return w.root, nil
}

// Finish writes the header: before that the file is none.
func (w *Writer) Finish() error {
	page := make([]byte, headerSize)
	h := (*fileHeader)(unsafe.Pointer(&page[0]))
	*h = fileHeader{
		Magic: fileMagic, Version: fileVersion, Sizes: layoutSizes, Length: w.off, Root: w.root,
		Names: w.names, Dirs: w.dirs, KeyLen: uint32(len(w.key)),
	}
	copy(page[unsafe.Sizeof(*h):], w.key)
	h.Sum = headerSum(page)
	return errnoOr(sys.Pwritev(w.fd, [][]byte{page}, 0))
}
