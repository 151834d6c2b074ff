package fstest

// The kinds of filesystem under test.
const (
	Plain   = "plain"
	Overlay = "overlayfs"
	Plyfs   = "plyfs"
)

// Who runs the cases, and the server.
type Who int

// The identities.
const (
	Root   Who = iota // root of the host
	NSRoot            // root of a user namespace with 65,537 ids
	Sole              // root of a user namespace with one id
	User              // an unprivileged user of the host
)

// Variant is one filesystem with one set of options.
type Variant struct {
	Name         string
	Like         string // a variant whose deviations are this one's, too
	Kind         string
	Who          Who
	Lowers       int
	Options      []string // of the mount, beside the layers
	ReadOnly     bool     // no upper
	Indexed      bool     // mounted with an index file, which the first mount builds
	Override     bool     // layers in the override_stat form
	Big          bool     // has the cases that are costly to prepare
	Daemon       bool     // the server goes to the background by itself
	ForeignUpper bool     // the upper holds what kernel overlayfs would not show alike
}

// Variants are those that CI runs.
var Variants = []Variant{
	{Name: "plain", Kind: Plain, Lowers: 1},
	{Name: "overlay", Kind: Overlay, Lowers: 3, Big: true},
	{Name: "overlay-full", Kind: Overlay, Lowers: 3, Options: []string{"index=on", "redirect_dir=on", "metacopy=on"}, ForeignUpper: true},
	{Name: "overlay-userns", Kind: Overlay, Who: NSRoot, Lowers: 3, Options: []string{"userxattr"}},
	{Name: "root", Kind: Plyfs, Lowers: 3, Big: true},
	{Name: "userns", Kind: Plyfs, Who: NSRoot, Lowers: 3},
	{Name: "sole", Kind: Plyfs, Who: Sole, Lowers: 3, Options: []string{"xattr_permissions=2"}, Override: true, ForeignUpper: true},
	{Name: "user", Kind: Plyfs, Who: User, Lowers: 3, Daemon: true},
	{Name: "readonly", Kind: Plyfs, Lowers: 3, ReadOnly: true},
	{Name: "lowers1", Kind: Plyfs, Lowers: 1},
	{Name: "lowers64", Kind: Plyfs, Lowers: 64, Big: true},
	{Name: "volatile", Kind: Plyfs, Lowers: 3, Options: []string{"volatile"}},
	{Name: "redirect", Kind: Plyfs, Lowers: 3, Options: []string{"redirect_dir=on"}, ForeignUpper: true},
	{Name: "metacopy", Kind: Plyfs, Lowers: 3, Options: []string{"metacopy=on"}, ForeignUpper: true},
	{Name: "indexed", Like: "root", Kind: Plyfs, Lowers: 3, Indexed: true},
	{Name: "indexed-sole", Like: "sole", Kind: Plyfs, Who: Sole, Lowers: 3, Options: []string{"xattr_permissions=2"}, Override: true, ForeignUpper: true, Indexed: true},
	{Name: "nowriteback", Kind: Plyfs, Lowers: 3, Options: []string{"writeback=off"}},
	{Name: "passthrough", Kind: Plyfs, Lowers: 3, Options: []string{"io=passthrough"}},
}

// lacks are the needs that the variant can't meet.
func (v *Variant) lacks() Need {
	var n Need
	if v.Kind == Plain {
		n |= NeedUnion | NeedOwn
	}
	if v.Who != Root {
		n |= NeedDevices | NeedTrusted | NeedInitNS
	}
	if v.Who == Sole || v.Who == User {
		n |= NeedUsers
	}
	if v.Override {
		n |= NeedModes
	}
	return n
}

// prefix is that of the overlay xattrs in the variant's layers.
func (v *Variant) prefix() string {
	if v.Who == Root {
		return "trusted.overlay."
	}
	return "user.overlay."
}

func (v *Variant) builder() builder {
	return builder{xattr: v.prefix(), override: v.Override}
}
