package dialect

import (
	"bytes"
	"syscall"

	"github.com/plyfs/plyfs/fs/layer"
)

const (
	trustedPrefix  = "trusted.overlay."
	userPrefix     = "user.overlay."
	fusePrefix     = "user.fuseoverlayfs."
	plyfsPrefix    = "user.plyfs."
	securityPrefix = "security."

	// escapePrefix is put behind the prefix of a name that a client uses:
	// an overlay inside the mount keeps its records as
	// trusted.overlay.overlay.opaque and so on.
	escapePrefix = "overlay."

	// wrapPrefix is put before a name on a layer with virtual ownership
	// (XattrPermUser), where the writer may not set the real one.
	wrapPrefix = "user.containers.override_"
)

// ClientToDisk turns the name of an xattr, as a client of the mount says it,
// into the one to use on a layer. mode is the layer's: layers of one mount can
// differ.
//
// The names of overlays inside the mount are escaped, analogous to
// fs/overlayfs/xattrs.c:ovl_xattr_escape_name(). Both namespaces are, where
// the kernel escapes only the one that it writes: we read both.
//
// On a layer of XattrPermUser they, and security.*, are instead kept as
// user.containers.override_NAME, as fuse-overlayfs keeps them. There all
// other user.containers.override_* are ours: a client who could set them
// could make a file setuid root.
//
// EPERM means a name that is ours alone: setting and removing it is refused
// with that, getting it is to answer ENODATA, as for any that isn't there.
// EOPNOTSUPP means that the name on disk would be too long.
//
// A name that changes is built in buf when its capacity suffices, and is then
// valid until buf is used again; other names are returned as they are.
func ClientToDisk(name string, buf []byte, mode layer.XattrPermissions) (disk string, err syscall.Errno) {
	var insert string
	at := 0
	switch overlay := overlayPrefix(name); {
	case hasPrefix(name, plyfsPrefix):
		return "", syscall.EPERM
	case mode == layer.XattrPermUser:
		if hasPrefix(name, wrapPrefix) {
			return "", syscall.EPERM
		}
		if !wrapped(name) {
			return name, 0
		}
		insert = wrapPrefix
	case overlay != 0:
		insert, at = escapePrefix, overlay
	case hidden(name, mode):
		return "", syscall.EPERM
	default:
		return name, 0
	}
	if len(name)+len(insert) > NameMax {
		return "", syscall.EOPNOTSUPP
	}
	buf = append(buf[:0], name[:at]...)
	buf = append(buf, insert...)
	buf = append(buf, name[at:]...)
	return aliasString(buf), 0
}

// DiskToClient is ClientToDisk the other way round. ok is false for what
// clients don't see: our records and those of other overlays, which a copy-up
// leaves behind too, since the copy gets its own. The same rule for buf holds.
func DiskToClient(name string, buf []byte, mode layer.XattrPermissions) (client string, ok bool) {
	i, j, ok := cutOnDisk(name, mode)
	if !ok {
		return "", false
	}
	if i == 0 {
		return name[j:], true
	}
	buf = append(buf[:0], name[:i]...)
	buf = append(buf, name[j:]...)
	return aliasString(buf), true
}

// FilterList turns what listxattr(2) says of an object of a layer into what a
// client is to see, in place: what DiskToClient hides is left out and what
// ClientToDisk changed is given back. Analogous to ovl_listxattr(). A last
// name without its NUL is dropped.
func FilterList(list []byte, mode layer.XattrPermissions) []byte {
	out := list[:0]
	for rest := list; ; {
		name, tail, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return out
		}
		rest = tail
		if i, j, ok := cutOnDisk(name, mode); ok && len(name) > 0 {
			// out ends at or before name begins: nothing unread is lost.
			out = append(out, name[:i]...)
			out = append(out, name[j:]...)
			out = append(out, 0)
		}
	}
}

// cutOnDisk says which part of a name on disk clients don't see: they see
// name[:i] + name[j:], or nothing of it when ok is false.
func cutOnDisk[T string | []byte](name T, mode layer.XattrPermissions) (i, j int, ok bool) {
	overlay := overlayPrefix(name)
	switch {
	case hasPrefix(name, plyfsPrefix):
		return 0, 0, false
	case mode == layer.XattrPermUser:
		if hasPrefix(name, wrapPrefix) {
			return 0, len(wrapPrefix), wrapped(name[len(wrapPrefix):])
		}
		return 0, 0, !wrapped(name)
	case overlay != 0:
		return overlay, overlay + len(escapePrefix), hasPrefix(name[overlay:], escapePrefix)
	}
	return 0, 0, !hidden(name, mode)
}

// overlayPrefix is the length of the kernel's own prefix that name has, or 0.
func overlayPrefix[T string | []byte](name T) int {
	switch {
	case hasPrefix(name, userPrefix):
		return len(userPrefix)
	case hasPrefix(name, trustedPrefix):
		return len(trustedPrefix)
	}
	return 0
}

// wrapped says which names a layer of XattrPermUser keeps behind wrapPrefix:
// can_access_xattr() of fuse-overlayfs.
func wrapped[T string | []byte](name T) bool {
	return hasPrefix(name, securityPrefix) || hasPrefix(name, fusePrefix) || overlayPrefix(name) != 0
}

// hidden says which names that aren't the kernel's are nobody's but ours on a
// layer that is not of XattrPermUser.
func hidden[T string | []byte](name T, mode layer.XattrPermissions) bool {
	return hasPrefix(name, fusePrefix) ||
		mode == layer.XattrPermPrivileged && string(name) == OverridePrivileged
}

// hasPrefix is strings.HasPrefix for both forms; the conversion in a
// comparison costs nothing.
func hasPrefix[T string | []byte](name T, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}
