package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// File is an index file that is open. It is safe for concurrent use.
type File struct {
	mem    []byte
	hdr    fileHeader
	layers uint16
}

// Reasons why a file isn't used.
var (
	ErrStale   = errors.New("it is of layers that have changed since, or of other options")
	ErrDamaged = errors.New("it is damaged")
	errForeign = errors.New("it belongs to somebody else, or others may write to it")
	errVersion = errors.New("it is of another version of plyfs, or of another kind of machine")
)

// Open maps the index file behind fd, which stays the caller's. key is what the
// file must have been made for; layers is how many lowers there are. The time
// that this takes doesn't depend on the size of the file.
func Open(fd int, key []byte, layers int) (*File, error) {
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 {
		return nil, e
	}
	// What is in there decides what is shown of the layers: who may write to
	// it must be trusted as much as who runs this process.
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != unix.Geteuid() || st.Mode&0o022 != 0 {
		return nil, errForeign
	}
	if st.Size < headerSize || st.Size != int64(int(st.Size)) {
		return nil, ErrDamaged
	}
	mem, e := sys.MapFile(fd, int(st.Size))
	if e != 0 {
		return nil, e
	}
	f, err := open(mem, key, layers)
	if err != nil {
		sys.UnmapFile(mem)
	}
	return f, err
}

// open is Open with the file mapped.
func open(mem, key []byte, layers int) (*File, error) {
	if len(mem) < headerSize {
		return nil, ErrDamaged
	}
	f := &File{mem: mem, hdr: *(*fileHeader)(unsafe.Pointer(&mem[0])), layers: uint16(layers)}
	h := &f.hdr
	switch {
	case h.Magic != fileMagic || h.Version != fileVersion || h.Sizes != layoutSizes:
		return nil, errVersion
	case h.Length != uint64(len(mem)) || headerSum(mem[:headerSize]) != h.Sum || int64(h.KeyLen) > int64(keyMax):
		return nil, ErrDamaged
	}
	at := int(unsafe.Sizeof(*h))
	if string(mem[at:at+int(h.KeyLen)]) != string(key) {
		return nil, ErrStale
	}
	return f, nil
}

func headerSum(page []byte) uint32 {
	at := unsafe.Offsetof(fileHeader{}.Sum)
	sum := crc32.Update(0, table(), page[:at])
	sum = crc32.Update(sum, table(), []byte{0, 0, 0, 0})
	return crc32.Update(sum, table(), page[at+4:])
}

// Close unmaps the file. Nobody may use a Block of it any more.
func (f *File) Close() {
	sys.UnmapFile(f.mem)
	f.mem = nil
}

// Len is how many names and directories the file has.
func (f *File) Len() (names, dirs uint64) { return f.hdr.Names, f.hdr.Dirs }

// Block is one directory of a File.
type Block struct {
	Dir   Dir
	f     *File
	attrs []Attr
	parts []part
	texts []byte
}

// Root is the root directory.
func (f *File) Root() (*Block, error) { return f.block(headerSize, f.hdr.Root) }

// Kid is the block of a directory in b that has the attributes a; nil when the
// file doesn't have it.
func (b *Block) Kid(a *Attr) (*Block, error) {
	if a.Kid == 0 {
		return nil, nil
	}
	return b.f.block(a.Rdev, a.Kid)
}

// block is the block at an offset, checked. What is in the directory has its
// blocks from low on.
func (f *File) block(low, off uint64) (*Block, error) {
	damaged := func(what string) (*Block, error) {
		return nil, fmt.Errorf("%w: %s of the directory at %d", ErrDamaged, what, off)
	}
	size := uint64(unsafe.Sizeof(blockHeader{}))
	if off < headerSize || off%8 != 0 || off > uint64(len(f.mem)) || uint64(len(f.mem))-off < size {
		return damaged("place")
	}
	h := *(*blockHeader)(unsafe.Pointer(&f.mem[off]))
	if h.Offset != off || h.Length != h.length() || h.Length > uint64(len(f.mem))-off {
		return damaged("size")
	}
	mem := f.mem[off : off+h.Length]
	if blockSum(mem) != h.Sum {
		return damaged("checksum")
	}
	mem = mem[size:]
	b := &Block{f: f}
	b.Dir.ents = cut[Entry](&mem, h.Entries)
	b.attrs = cut[Attr](&mem, h.Entries)
	b.Dir.slots = cut[uint32](&mem, h.Slots)
	b.Dir.order = cut[uint32](&mem, h.Order)
	b.Dir.layers = cut[uint16](&mem, h.Layers)
	b.parts = cut[part](&mem, h.Parts)
	b.Dir.names = cut[byte](&mem, h.Names)
	b.texts = cut[byte](&mem, h.Texts)
	b.Dir.live = len(b.Dir.ents)
	if err := b.check(low, off); err != "" {
		return damaged(err)
	}
	return b, nil
}

func blockSum(mem []byte) uint32 {
	sum := crc32.Update(0, table(), []byte{0, 0, 0, 0})
	return crc32.Update(sum, table(), mem[4:])
}

// Attr is what the file has of an entry of b.Dir; nil when it has nothing.
func (b *Block) Attr(e *Entry) *Attr {
	if a := &b.attrs[b.Dir.Position(e)]; a.Flags&Known != 0 {
		return a
	}
	return nil
}

// Text is the text of an entry's attributes, "" when it has none.
func (b *Block) Text(a *Attr) string { return b.text(a.text) }

func (b *Block) text(t text) string {
	if t.Len == 0 {
		return ""
	}
	return unsafe.String(&b.texts[t.Off], t.Len)
}

// Parts are the lower directories that are merged into this one, top first.
func (b *Block) Parts() []Part {
	out := make([]Part, len(b.parts))
	for i, p := range b.parts {
		out[i] = Part{Layer: p.Layer, XWhiteouts: p.Flags&partXWhiteouts != 0, Path: string([]byte(b.text(p.Path)))}
	}
	return out
}

// errnoOr makes an error of a number.
func errnoOr(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
