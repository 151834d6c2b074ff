package dialect

import "encoding/binary"

// CapsName is the xattr that file capabilities are kept in.
const CapsName = "security.capability"

// Caps is a security.capability value: struct vfs_cap_data (version 2) or
// struct vfs_ns_cap_data (version 3) of include/uapi/linux/capability.h.
type Caps struct {
	Version                int // 1, 2 or 3
	Effective              bool
	Permitted, Inheritable uint64
	RootID                 uint32 // version 3: the user namespace's root, as the initial namespace sees it
}

const (
	capsMagic     = 0xff000000
	capsEffective = 1
	capsV1Len     = 4 + 8
	capsV2Len     = 4 + 16
	capsV3Len     = capsV2Len + 4
)

// ParseCaps reads a security.capability.
func ParseCaps(v []byte) (Caps, error) {
	if len(v) < 4 {
		return Caps{}, badValue("capability: shorter than its header")
	}
	magic := binary.LittleEndian.Uint32(v)
	c := Caps{Version: int(magic >> 24), Effective: magic&capsEffective != 0}
	if magic&^(capsMagic|capsEffective) != 0 {
		return Caps{}, badValue("capability: unknown flags")
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(v[4+4*i:])) }
	switch {
	case c.Version == 1 && len(v) == capsV1Len:
		c.Permitted, c.Inheritable = word(0), word(1)
		return c, nil
	case c.Version == 2 && len(v) == capsV2Len:
	case c.Version == 3 && len(v) == capsV3Len:
		c.RootID = uint32(word(4))
	default:
		return Caps{}, badValue("capability: unknown version, or a length that isn't its version's")
	}
	c.Permitted = word(0) | word(2)<<32
	c.Inheritable = word(1) | word(3)<<32
	return c, nil
}

// Append appends the value to dst. Version 1 can't hold all capabilities any
// more and is written as version 2.
func (c Caps) Append(dst []byte) []byte {
	le := binary.LittleEndian
	magic := uint32(2) << 24
	if c.Version == 3 {
		magic = 3 << 24
	}
	if c.Effective {
		magic |= capsEffective
	}
	dst = le.AppendUint32(dst, magic)
	dst = le.AppendUint32(dst, uint32(c.Permitted))
	dst = le.AppendUint32(dst, uint32(c.Inheritable))
	dst = le.AppendUint32(dst, uint32(c.Permitted>>32))
	dst = le.AppendUint32(dst, uint32(c.Inheritable>>32))
	if c.Version == 3 {
		dst = le.AppendUint32(dst, c.RootID)
	}
	return dst
}

// V2 is c without the user namespace that it is bound to: what setcap(8) in a
// container writes names the host's id of the container's root, which means
// nothing in a layer.
func (c Caps) V2() Caps {
	c.Version, c.RootID = 2, 0
	return c
}
