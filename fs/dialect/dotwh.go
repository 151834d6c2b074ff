package dialect

import "strings"

// DotWh is what a name means in AUFS' way of writing deletions, which OCI
// layers use and fuse-overlayfs falls back to.
type DotWh uint8

// The kinds of names.
const (
	DotWhNone     DotWh = iota // an ordinary name
	DotWhWhiteout              // .wh.NAME: NAME is deleted
	DotWhOpaque                // .wh..wh..opq: the directory is opaque
	DotWhMeta                  // AUFS' own bookkeeping: hidden, no meaning
)

// The names, in pieces.
const (
	DotWhPrefix     = ".wh."
	DotWhMetaPrefix = ".wh..wh."
	DotWhOpaqueName = ".wh..wh..opq"
)

// ParseDotWh tells what name means. target is the deleted name of a whiteout
// and empty otherwise. What would delete nothing that can exist (".wh.",
// ".wh.." and ".wh...") is DotWhMeta.
func ParseDotWh(name string) (target string, kind DotWh) {
	if len(name) < len(DotWhPrefix) || name[0] != '.' || name[:len(DotWhPrefix)] != DotWhPrefix {
		return "", DotWhNone
	}
	if name == DotWhOpaqueName {
		return "", DotWhOpaque
	}
	if strings.HasPrefix(name, DotWhMetaPrefix) {
		return "", DotWhMeta
	}
	switch target = name[len(DotWhPrefix):]; target {
	case "", ".", "..":
		return "", DotWhMeta
	}
	return target, DotWhWhiteout
}

// DotWhName is the name of the file that deletes name, or false when there is
// none: it would be longer than a name may be, or would read back as something
// else (name itself begins with ".wh.").
func DotWhName(name string) (string, bool) {
	if name == "" || name == "." || name == ".." ||
		len(name) > NameMax-len(DotWhPrefix) || strings.HasPrefix(name, DotWhPrefix) {
		return "", false
	}
	return DotWhPrefix + name, true
}
