package dialect

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Names of the POSIX ACL xattrs.
const (
	ACLAccess  = "system.posix_acl_access"
	ACLDefault = "system.posix_acl_default"
)

// Tags of ACL entries, in the order in which they stand.
const (
	ACLUserObj  = 0x01
	ACLUser     = 0x02
	ACLGroupObj = 0x04
	ACLGroup    = 0x08
	ACLMask     = 0x10
	ACLOther    = 0x20
)

// ACLUndefinedID is the id of an entry that names nobody.
const ACLUndefinedID = ^uint32(0)

const (
	aclVersion = 2
	aclHeader  = 4 // u32 version
	aclEntry   = 8 // u16 tag, u16 perm, u32 id; all little endian
)

// ACLEntry is one line of a POSIX ACL.
type ACLEntry struct {
	Tag, Perm uint16
	ID        uint32 // of ACLUser and ACLGroup; ACLUndefinedID elsewhere
}

// ParseACL reads an ACL xattr and checks it as the kernel does when one is
// set (fs/posix_acl.c: posix_acl_from_xattr() and posix_acl_valid()). No
// entries at all means that there is no ACL.
func ParseACL(v []byte) ([]ACLEntry, error) {
	if err := checkACLSize(v); err != nil {
		return nil, err
	}
	n := (len(v) - aclHeader) / aclEntry
	if n == 0 {
		return nil, nil
	}
	acl := make([]ACLEntry, n)
	for i := range acl {
		acl[i] = aclAt(v, i)
	}
	return acl, validACL(acl)
}

func checkACLSize(v []byte) error {
	switch {
	case len(v) < aclHeader:
		return badValue("ACL: shorter than its header")
	case binary.LittleEndian.Uint32(v) != aclVersion:
		return badValue("ACL: unknown version")
	case (len(v)-aclHeader)%aclEntry != 0:
		return badValue("ACL: ends inside an entry")
	}
	return nil
}

func aclAt(v []byte, i int) ACLEntry {
	e := v[aclHeader+i*aclEntry:]
	a := ACLEntry{
		Tag:  binary.LittleEndian.Uint16(e),
		Perm: binary.LittleEndian.Uint16(e[2:]),
		ID:   binary.LittleEndian.Uint32(e[4:]),
	}
	if a.Tag != ACLUser && a.Tag != ACLGroup {
		a.ID = ACLUndefinedID
	}
	return a
}

// validACL is posix_acl_valid(): each entry in its place, exactly one of each
// of the base three, a mask when anybody is named.
func validACL(acl []ACLEntry) error {
	state, needsMask := uint16(ACLUserObj), false
	for _, e := range acl {
		if e.Perm&^7 != 0 {
			return badValue("ACL: permission bits other than rwx")
		}
		ok := false
		switch e.Tag {
		case ACLUserObj:
			ok, state = state == ACLUserObj, ACLUser
		case ACLUser:
			ok, needsMask = state == ACLUser && e.ID != ACLUndefinedID, true
		case ACLGroupObj:
			ok, state = state == ACLUser, ACLGroup
		case ACLGroup:
			ok, needsMask = state == ACLGroup && e.ID != ACLUndefinedID, true
		case ACLMask:
			ok, state = state == ACLGroup, ACLOther
		case ACLOther:
			ok = state == ACLOther || state == ACLGroup && !needsMask
			state = 0
		}
		if !ok {
			return badValue("ACL: an entry is unknown or not where it may stand")
		}
	}
	if state != 0 {
		return badValue("ACL: an entry is missing")
	}
	return nil
}

// AppendACL appends the xattr value to dst.
func AppendACL(dst []byte, acl []ACLEntry) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, aclVersion)
	for _, e := range acl {
		if e.Tag != ACLUser && e.Tag != ACLGroup {
			e.ID = ACLUndefinedID
		}
		dst = binary.LittleEndian.AppendUint16(dst, e.Tag)
		dst = binary.LittleEndian.AppendUint16(dst, e.Perm)
		dst = binary.LittleEndian.AppendUint32(dst, e.ID)
	}
	return dst
}

// Inherit says what a new object in a directory with a default ACL gets. mode
// is what the client asked for, before umask (which a default ACL replaces).
// access is nil when newMode says it all; def is the new directory's own
// default ACL and nil for other objects. A default ACL without entries, or
// none, changes nothing: the caller applies the umask then. Analogous to
// fs/posix_acl.c:posix_acl_create(). Symlinks inherit nothing: don't ask.
func Inherit(defaultACL []byte, mode uint32, isDir bool) (access []byte, newMode uint32, def []byte, err error) {
	if len(defaultACL) == 0 {
		return nil, mode, nil, nil
	}
	acl, err := ParseACL(defaultACL)
	if err != nil {
		return nil, mode, nil, err
	}
	if len(acl) == 0 {
		return nil, mode, nil, nil
	}
	newMode, equiv := createMasq(acl, mode)
	if !equiv {
		access = AppendACL(make([]byte, 0, len(defaultACL)), acl)
	}
	if isDir {
		def = defaultACL
	}
	return access, newMode, def, nil
}

// createMasq is posix_acl_create_masq(): it takes from acl what mode doesn't
// grant, and from mode what acl doesn't. equiv says that the mode alone says
// the same as the ACL. acl is valid.
func createMasq(acl []ACLEntry, mode uint32) (newMode uint32, equiv bool) {
	var group *ACLEntry
	equiv = true
	m := mode & 0o777
	for i := range acl {
		e := &acl[i]
		switch e.Tag {
		case ACLUserObj:
			e.Perm &= uint16(m >> 6)
			m = m&^unix.S_IRWXU | uint32(e.Perm)<<6
		case ACLUser, ACLGroup:
			equiv = false
		case ACLGroupObj:
			if group == nil {
				group = e
			}
		case ACLMask:
			group, equiv = e, false
		case ACLOther:
			e.Perm &= uint16(m & unix.S_IRWXO)
			m = m&^unix.S_IRWXO | uint32(e.Perm)
		}
	}
	// The group bits of a mode are the mask where there is one.
	group.Perm &= uint16(m >> 3 & 7)
	m = m&^unix.S_IRWXG | uint32(group.Perm)<<3
	return mode&^0o777 | m, equiv
}

// EquivMode gives the permission bits that an access ACL stands for, and
// whether they say all of it, so that it need not be kept. Analogous to
// fs/posix_acl.c:posix_acl_equiv_mode().
func EquivMode(acl []ACLEntry) (perm uint32, equiv bool) {
	equiv = true
	mask, hasMask := uint32(0), false
	for _, e := range acl {
		switch p := uint32(e.Perm & 7); e.Tag {
		case ACLUserObj:
			perm |= p << 6
		case ACLGroupObj:
			perm |= p << 3
		case ACLOther:
			perm |= p
		case ACLMask:
			mask, hasMask, equiv = p, true, false
		default:
			equiv = false
		}
	}
	if hasMask {
		perm = perm&^unix.S_IRWXG | mask<<3
	}
	return perm, equiv
}

// ShiftIDs changes the ids that an ACL xattr names, in place, as an id map of
// the mount wants it. A value that isn't an ACL is left alone.
func ShiftIDs(acl []byte, uid, gid func(uint32) uint32) {
	if checkACLSize(acl) != nil {
		return
	}
	for at := aclHeader; at < len(acl); at += aclEntry {
		id := acl[at+4 : at+8]
		switch binary.LittleEndian.Uint16(acl[at:]) {
		case ACLUser:
			binary.LittleEndian.PutUint32(id, uid(binary.LittleEndian.Uint32(id)))
		case ACLGroup:
			binary.LittleEndian.PutUint32(id, gid(binary.LittleEndian.Uint32(id)))
		}
	}
}
