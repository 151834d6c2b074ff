package dialect

import (
	"bytes"
	"strings"
	"syscall"

	"github.com/plyfs/plyfs/fs/layer"
)

const (
	trustedPrefix = "trusted.overlay."
	userPrefix    = "user.overlay."
	fusePrefix    = "user.fuseoverlayfs."
	plyfsPrefix   = "user.plyfs."

	// escapePrefix is put behind the prefix of a name that a client uses:
	// an overlay inside the mount keeps its records as
	// trusted.overlay.overlay.opaque and so on.
	escapePrefix = "overlay."
)

// ClientToDisk turns the name of an xattr, as a client of the mount says it,
// into the one to use on the layer. Analogous to fs/overlayfs/xattrs.c:
// ovl_xattr_escape_name(), but both namespaces are escaped where the kernel
// escapes only the one that it writes: we read both.
//
// EPERM means a name that is ours alone: setting and removing it is refused
// with that, getting it is to answer ENODATA, as for any that isn't there.
// EOPNOTSUPP means that the escaped name would be too long.
//
// An escaped name is built in buf when its capacity suffices, and is then
// valid until buf is used again; other names are returned as they are.
func ClientToDisk(name string, buf []byte, mode layer.XattrPermissions) (disk string, err syscall.Errno) {
	if prefix := overlayPrefix(name); prefix != "" {
		n := len(name) + len(escapePrefix)
		if n > NameMax {
			return "", syscall.EOPNOTSUPP
		}
		buf = append(buf[:0], prefix...)
		buf = append(buf, escapePrefix...)
		buf = append(buf, name[len(prefix):]...)
		return aliasString(buf), 0
	}
	if hidden(name, mode) {
		return "", syscall.EPERM
	}
	return name, 0
}

// overlayPrefix is the kernel's own prefix that name begins with, or "".
func overlayPrefix[T string | []byte](name T) string {
	switch {
	case hasPrefix(name, userPrefix):
		return userPrefix
	case hasPrefix(name, trustedPrefix):
		return trustedPrefix
	}
	return ""
}

// hidden says whether an xattr that isn't the kernel's is a record of ours or
// of fuse-overlayfs, which clients neither see nor change.
func hidden[T string | []byte](name T, mode layer.XattrPermissions) bool {
	if hasPrefix(name, fusePrefix) || hasPrefix(name, plyfsPrefix) {
		return true
	}
	switch mode {
	case layer.XattrPermPrivileged:
		return string(name) == OverridePrivileged
	case layer.XattrPermUser:
		return string(name) == OverrideUser
	}
	return false
}

// hasPrefix is strings.HasPrefix for both forms; the conversion in a
// comparison costs nothing.
func hasPrefix[T string | []byte](name T, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}

// FilterList turns what listxattr(2) says of an object of a layer into what a
// client is to see, in place: records of ours are left out and names that
// ClientToDisk escaped are given back. Analogous to ovl_listxattr(). A last
// name without its NUL is dropped.
func FilterList(list []byte, mode layer.XattrPermissions) []byte {
	out := list[:0]
	for rest := list; len(rest) > 0; {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			break
		}
		name := rest[:i]
		rest = rest[i+1:]
		if prefix := overlayPrefix(name); prefix != "" {
			tail := name[len(prefix):]
			if !hasPrefix(tail, escapePrefix) {
				continue
			}
			out = append(out, name[:len(prefix)]...)
			name = tail[len(escapePrefix):]
		} else if len(name) == 0 || hidden(name, mode) {
			continue
		}
		out = append(out, name...)
		out = append(out, 0)
	}
	return out
}

// PrivateXattr says whether an xattr found on a layer is bookkeeping of an
// overlay: a copy-up leaves it behind (the copy gets its own).
func PrivateXattr(name string, mode layer.XattrPermissions) bool {
	if prefix := overlayPrefix(name); prefix != "" {
		return !strings.HasPrefix(name[len(prefix):], escapePrefix)
	}
	return hidden(name, mode)
}
