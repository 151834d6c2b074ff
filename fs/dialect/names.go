package dialect

// NS is the xattr namespace that a mount writes the kernel's records in: the
// one that a kernel overlay mounted on the same directories would read.
type NS uint8

// The namespaces.
const (
	NSTrusted NS = iota // CAP_SYS_ADMIN in the initial user namespace
	NSUser              // everybody else; overlayfs' "userxattr" option
)

// nsNames holds the full names of one namespace, so that no name is put
// together while a request is served.
type nsNames struct {
	prefix, opaque, whiteout, redirect, metacopy, origin string
	impure, nlink, upper, uuid, protattr, plyfs          string
}

var names = [2]nsNames{
	NSTrusted: {
		prefix:   "trusted.overlay.",
		opaque:   "trusted.overlay.opaque",
		whiteout: "trusted.overlay.whiteout",
		redirect: "trusted.overlay.redirect",
		metacopy: "trusted.overlay.metacopy",
		origin:   "trusted.overlay.origin",
		impure:   "trusted.overlay.impure",
		nlink:    "trusted.overlay.nlink",
		upper:    "trusted.overlay.upper",
		uuid:     "trusted.overlay.uuid",
		protattr: "trusted.overlay.protattr",
		plyfs:    "trusted.overlay.plyfs",
	},
	NSUser: {
		prefix:   "user.overlay.",
		opaque:   "user.overlay.opaque",
		whiteout: "user.overlay.whiteout",
		redirect: "user.overlay.redirect",
		metacopy: "user.overlay.metacopy",
		origin:   "user.overlay.origin",
		impure:   "user.overlay.impure",
		nlink:    "user.overlay.nlink",
		upper:    "user.overlay.upper",
		uuid:     "user.overlay.uuid",
		protattr: "user.overlay.protattr",
		plyfs:    "user.overlay.plyfs",
	},
}

// Prefix is "trusted.overlay." or "user.overlay.".
func (n NS) Prefix() string { return names[n&1].prefix }

// Opaque is the mark on a directory: see ParseOpaque.
func (n NS) Opaque() string { return names[n&1].opaque }

// Whiteout is the mark on an empty regular file that stands for a deletion.
func (n NS) Whiteout() string { return names[n&1].whiteout }

// Redirect names the lower object that a renamed one continues.
func (n NS) Redirect() string { return names[n&1].redirect }

// Metacopy marks a regular file whose data is still in a lower layer.
func (n NS) Metacopy() string { return names[n&1].metacopy }

// Origin holds the file handle of what an object was copied up from.
func (n NS) Origin() string { return names[n&1].origin }

// Impure marks a directory that may hold copied-up children.
func (n NS) Impure() string { return names[n&1].impure }

// Nlink keeps the link count of an indexed file.
func (n NS) Nlink() string { return names[n&1].nlink }

// Upper is written by the kernel on its index entries of directories.
func (n NS) Upper() string { return names[n&1].upper }

// UUID is the overlay's own uuid, on the root of the upper.
func (n NS) UUID() string { return names[n&1].uuid }

// Protattr keeps the append-only and immutable flags.
func (n NS) Protattr() string { return names[n&1].protattr }

// Plyfs is the xattr of our own origin record (see ParsePlyfsOrigin). It lies in
// the kernel's prefix so that overlayfs hides it as it hides its own.
func (n NS) Plyfs() string { return names[n&1].plyfs }

// Other is the namespace that this one is not: read second, never written.
func (n NS) Other() NS { return n&1 ^ 1 }

// Names of fuse-overlayfs, read only, and our own.
const (
	FuseOpaque = "user.fuseoverlayfs.opaque" // "y"
	FuseOrigin = "user.fuseoverlayfs.origin" // path in the lower layer, with its NUL
)

// Names of the records of virtual ownership. Which one a layer uses is decided
// by what its root directory carries.
const (
	OverrideUser       = "user.containers.override_stat"
	OverrideUserLegacy = "user.fuseoverlayfs.override_stat"
	OverridePrivileged = "security.fuseoverlayfs.override_stat"
)

// NameMax is the longest file or xattr name that Linux takes.
const NameMax = 255
