package dialect

import (
	"strconv"
	"strings"
)

// OpaqueKind is what an opaque xattr says.
type OpaqueKind uint8

// The kinds.
const (
	OpaqueNo         OpaqueKind = iota
	OpaqueYes                   // "y": nothing below is merged
	OpaqueXWhiteouts            // "x": merged, and some of its empty files may be xattr whiteouts (lower layers)
)

// ParseOpaque reads the value of an opaque xattr. What the kernel ignores,
// such as the "0" of its own probe, is OpaqueNo.
func ParseOpaque(v []byte) OpaqueKind {
	if len(v) == 1 {
		switch v[0] {
		case 'y':
			return OpaqueYes
		case 'x':
			return OpaqueXWhiteouts
		}
	}
	return OpaqueNo
}

// RedirectMax is the longest redirect that is followed: a path of the kernel.
const RedirectMax = 4096

// ParseRedirect reads a redirect: an absolute path (from the root of the
// overlay, with its leading slash) or one name in the same directory. It is
// analogous to fs/overlayfs/namei.c:ovl_get_redirect_xattr(); "." and ".."
// and over-long names, which the kernel's look-up refuses later, are
// refused here.
func ParseRedirect(v []byte) (path string, absolute bool, err error) {
	switch {
	case len(v) == 0:
		return "", false, badValue("redirect: empty")
	case len(v) > RedirectMax:
		return "", false, badValue("redirect: longer than a path can be")
	}
	path = string(v)
	rest, absolute := strings.CutPrefix(path, "/")
	for {
		name, tail, more := strings.Cut(rest, "/")
		if err := checkName(name); err != nil {
			return "", false, err
		}
		if !more {
			return path, absolute, nil
		}
		if !absolute {
			return "", false, badValue("redirect: a relative path of more than one name")
		}
		rest = tail
	}
}

// checkName refuses what a redirect's component can't be.
func checkName(name string) error {
	switch {
	case name == "":
		return badValue("redirect: empty component")
	case name == "." || name == "..":
		return badValue("redirect: \".\" or \"..\" as a component")
	case len(name) > NameMax:
		return badValue("redirect: a component longer than a name can be")
	case strings.IndexByte(name, 0) >= 0:
		return badValue("redirect: NUL byte")
	}
	return nil
}

// struct ovl_metacopy of fs/overlayfs/overlayfs.h: version, len, flags,
// digest_algo, then the fs-verity digest.
const (
	metacopyMin = 4
	metacopyMax = metacopyMin + 64
)

// ParseMetacopy says whether v is a metacopy record that the kernel would
// take: empty, or a struct ovl_metacopy of version 0 whose length field is
// right. Analogous to fs/overlayfs/util.c:ovl_check_metacopy_xattr().
func ParseMetacopy(v []byte) error {
	switch {
	case len(v) == 0:
		return nil
	case len(v) < metacopyMin:
		return badValue("metacopy: too short")
	case len(v) > metacopyMax:
		return badValue("metacopy: too long")
	case v[0] != 0:
		return badValue("metacopy: unknown version")
	case int(v[1]) != len(v):
		return badValue("metacopy: length field is not the value's length")
	}
	return nil
}

// MetacopyValue is what a metadata-only copy-up without a digest is marked
// with: the empty value, which every kernel since 4.19 understands.
func MetacopyValue() []byte { return nil }

// ParseNlink reads the link count record of an indexed file: 'U' or 'L' (on
// top of the upper's or the lower's link count), then a signed number.
// Analogous to fs/overlayfs/util.c:ovl_get_nlink().
func ParseNlink(v []byte) (upper bool, delta int, err error) {
	// "U-2147483648" is the longest.
	if len(v) < 3 || len(v) > 12 || v[0] != 'U' && v[0] != 'L' || v[1] != '+' && v[1] != '-' {
		return false, 0, badValue("nlink: not U or L followed by a signed number")
	}
	n, err := strconv.ParseInt(string(v[1:]), 10, 32)
	if err != nil {
		return false, 0, badValue("nlink: not U or L followed by a signed number")
	}
	return v[0] == 'U', int(n), nil
}

// AppendNlink appends the record to dst.
func AppendNlink(dst []byte, upper bool, delta int) []byte {
	which := byte('L')
	if upper {
		which = 'U'
	}
	dst = append(dst, which)
	if delta >= 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(delta), 10)
}
