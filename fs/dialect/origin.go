package dialect

import (
	"encoding/binary"
	"unsafe"
)

// Origin is the file handle of the lower object that something was copied up
// from: struct ovl_fb of fs/overlayfs/overlayfs.h.
//
//	byte 0  version = 0
//	     1  magic   = 0xfb
//	     2  len     = 21 + length of the file id
//	     3  flags   = 1 big endian, 2 any endian, 4 handle is of an upper object
//	     4  type of the file id, as name_to_handle_at(2) gave it
//	     5  uuid of the filesystem, 16 bytes
//	    21  file id
type Origin struct {
	UUID    [16]byte
	Type    uint8
	Flags   uint8
	FID     []byte // aliases what ParseOrigin was given
	Unknown bool   // copied up, but from where can't be said
}

const (
	fbHeader  = 21
	fbMagic   = 0xfb
	fbVersion = 0
)

// The flags of an Origin.
const (
	OriginBigEndian = 1 << 0
	OriginAnyEndian = 1 << 1
	OriginUpper     = 1 << 2

	originFlags = OriginBigEndian | OriginAnyEndian | OriginUpper
)

// OriginFIDMax is the longest file id that fits the length byte.
const OriginFIDMax = 255 - fbHeader

// hostFlags is what a handle made on this machine carries.
var hostFlags = func() uint8 {
	one := uint16(1)
	if *(*byte)(unsafe.Pointer(&one)) == 0 {
		return OriginBigEndian
	}
	return 0
}()

// NewOrigin is the origin that the kernel of this machine would write for a
// handle of name_to_handle_at(2). A handle that doesn't fit is Unknown.
func NewOrigin(uuid [16]byte, handleType int32, fid []byte) Origin {
	if len(fid) == 0 || len(fid) > OriginFIDMax || handleType < 0 || handleType > 0xff {
		return Origin{Unknown: true}
	}
	return Origin{UUID: uuid, Type: uint8(handleType), Flags: hostFlags, FID: fid}
}

// ParseOrigin reads an origin. Analogous to fs/overlayfs/namei.c:ovl_get_fh()
// and ovl_check_fb_len(): an empty value, a later version, unknown flags and
// the other byte order are Unknown and no error.
func ParseOrigin(v []byte) (Origin, error) {
	if len(v) == 0 {
		return Origin{Unknown: true}, nil
	}
	if len(v) < fbHeader {
		return Origin{}, badValue("origin: shorter than its header")
	}
	if v[1] != fbMagic {
		return Origin{}, badValue("origin: wrong magic byte")
	}
	n := int(v[2])
	if n < fbHeader || n > len(v) {
		return Origin{}, badValue("origin: length field doesn't fit the value")
	}
	flags := v[3]
	if v[0] > fbVersion || flags&^originFlags != 0 ||
		flags&OriginAnyEndian == 0 && flags&OriginBigEndian != hostFlags {
		return Origin{Unknown: true}, nil
	}
	o := Origin{Type: v[4], Flags: flags, FID: v[fbHeader:n:n]}
	copy(o.UUID[:], v[5:fbHeader])
	return o, nil
}

// Append appends the value to dst: nothing when o is Unknown, because the
// empty value says just that.
func (o Origin) Append(dst []byte) []byte {
	if o.Unknown || len(o.FID) > OriginFIDMax {
		return dst
	}
	dst = append(dst, fbVersion, fbMagic, byte(fbHeader+len(o.FID)), o.Flags, o.Type)
	dst = append(dst, o.UUID[:]...)
	return append(dst, o.FID...)
}

// Types of file ids (include/linux/exportfs.h) that carry the inode number.
const (
	fidIno32          = 0x01 // ext4, f2fs, old xfs…: u32 ino, u32 generation; tmpfs: see below
	fidIno32Parent    = 0x02
	fidBtrfs          = 0x4d // u64 objectid (the inode number), u64 root, u32 generation
	fidBtrfsParent    = 0x4e
	fidBtrfsParentTop = 0x4f
	fidIno64          = 0x81 // xfs: u64 ino, u32 generation
	fidIno64Parent    = 0x82
)

// Ino is the inode number inside the file id, read without opening it (which
// takes CAP_DAC_READ_SEARCH). It is false where the id's layout isn't known.
func (o Origin) Ino() (uint64, bool) {
	if o.Unknown {
		return 0, false
	}
	word := func(i int) uint64 { return uint64(o.byteOrder().Uint32(o.FID[4*i:])) }
	var ino uint64
	switch n := len(o.FID); {
	case o.Type == fidIno32 && n == 12:
		// tmpfs (mm/shmem.c:shmem_encode_fh) answers this type with
		// three words: generation, low and high half of the number.
		ino = word(1) | word(2)<<32
	case (o.Type == fidIno32 || o.Type == fidIno32Parent) && n >= 8:
		ino = word(0)
	case o.Type >= fidBtrfs && o.Type <= fidBtrfsParentTop && n >= 20:
		ino = o.byteOrder().Uint64(o.FID)
	case (o.Type == fidIno64 || o.Type == fidIno64Parent) && n >= 12:
		return o.ino64(word(0), word(1))
	}
	return ino, ino != 0
}

// ino64 tells the two layouts of the 64-bit types apart. xfs has a u64; erofs
// and FUSE put the high half first. The first word of an xfs id is never zero
// (no inode lives at the head of an allocation group), that of an erofs one
// below 128 GiB always is. What FUSE puts there is its node id and not the
// inode number, but it has no uuid either.
func (o Origin) ino64(w0, w1 uint64) (uint64, bool) {
	if o.UUID == [16]byte{} {
		return 0, false
	}
	if w0 == 0 {
		return w1, w1 != 0
	}
	return o.byteOrder().Uint64(o.FID), true
}

func (o Origin) byteOrder() binary.ByteOrder {
	if o.Flags&OriginBigEndian != 0 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Our own origin record, for layers whose filesystem has no file handles or
// none that can be read: version 1, uuid, inode number little endian.
const (
	plyfsOriginVersion = 1
	plyfsOriginLen     = 1 + 16 + 8
)

// ParsePlyfsOrigin reads our own origin record: the xattr NS.Plyfs, where the
// kernel's form can't be had or would mislead it.
func ParsePlyfsOrigin(v []byte) (uuid [16]byte, ino uint64, err error) {
	if len(v) != plyfsOriginLen || v[0] != plyfsOriginVersion {
		return uuid, 0, badValue("plyfs origin: wrong length or version")
	}
	copy(uuid[:], v[1:])
	return uuid, binary.LittleEndian.Uint64(v[17:]), nil
}

// AppendPlyfsOrigin appends the record to dst.
func AppendPlyfsOrigin(dst []byte, uuid [16]byte, ino uint64) []byte {
	dst = append(dst, plyfsOriginVersion)
	dst = append(dst, uuid[:]...)
	return binary.LittleEndian.AppendUint64(dst, ino)
}
