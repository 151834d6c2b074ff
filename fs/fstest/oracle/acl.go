package oracle

import "encoding/binary"

// The xattrs of a POSIX ACL, in the kernel's form: version 2, then tag,
// permissions and id of each entry.
var (
	aclAccess = Xattr{"system.posix_acl_access", aclValue(
		aclEntry{0x01, 6, noID}, aclEntry{0x02, 5, 0}, aclEntry{0x04, 4, noID}, aclEntry{0x10, 5, noID}, aclEntry{0x20, 0, noID},
	)}
	aclDefault = Xattr{"system.posix_acl_default", aclValue(
		aclEntry{0x01, 7, noID}, aclEntry{0x02, 7, 0}, aclEntry{0x04, 5, noID}, aclEntry{0x10, 7, noID}, aclEntry{0x20, 1, noID},
	)}
	aclMinimal = Xattr{"system.posix_acl_access", aclValue(
		aclEntry{0x01, 7, noID}, aclEntry{0x04, 4, noID}, aclEntry{0x20, 0, noID},
	)}
	aclBad = Xattr{"system.posix_acl_access", "nonsense"}
)

const noID = 0xffffffff

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

func aclValue(entries ...aclEntry) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return string(b)
}
