package layer

import "time"

// IDRange is one line of an id map: Length ids from Host (as stored in the
// layers) appear as ids from Target (as seen in the mount).
type IDRange struct {
	Host, Target, Length uint32
}

// Redirect says what directory renames and overlay.redirect xattrs do.
type Redirect uint8

// The values of redirect_dir=.
const (
	RedirectDefault  Redirect = iota // follow what is there; renames copy up instead of writing a redirect
	RedirectOn                       // follow, and write redirects on rename
	RedirectOff                      // like the kernel's "off": follow, never write
	RedirectNoFollow                 // never follow, never write
)

// Fsync says what is made durable, and when.
type Fsync uint8

// The values of fsync=.
const (
	FsyncAuto     Fsync = iota // data of a copied-up file before it is put in place; what the client asks for
	FsyncStrict                // also directories and metadata-only changes
	FsyncVolatile              // nothing
)

// XattrPermissions is fuse-overlayfs' xattr_permissions=: where owners and
// modes are kept as data.
type XattrPermissions uint8

// The values of xattr_permissions=.
const (
	XattrPermNone       XattrPermissions = 0
	XattrPermPrivileged XattrPermissions = 1 // security.fuseoverlayfs.override_stat
	XattrPermUser       XattrPermissions = 2 // user.containers.override_stat
)

// IOMode is io=.
type IOMode uint8

// The values of io=.
const (
	IOAuto IOMode = iota
	IOCached
	IOPassthrough
)

// Options is everything that a mount's option text can say. The zero value of
// a field is its default.
type Options struct {
	Lower       []string // lowerdir, top first
	Upper, Work string
	Index       string // index: the directory of index files; "" = none is used

	ReadOnly bool // ro, or no upperdir

	UIDMap, GIDMap []IDRange
	SquashToRoot   bool
	SquashUID      *uint32
	SquashGID      *uint32

	XattrPerm XattrPermissions
	UserXattr bool // userxattr: use user.overlay.* even when trusted.* would work
	Redirect  Redirect
	Metacopy  bool
	Fsync     Fsync
	NoMarker  bool // nomarker: volatile leaves no marker in workdir, as fuse-overlayfs leaves none
	Scratch   bool // scratch: upper and work are new and deleted afterwards; nothing in them is kept tidy
	NoACL     bool
	Timeout   *time.Duration // timeout=SECONDS; nil = for ever (1 s when Live)

	StaticNlink bool
	Xino        string // auto, on, off ("" = auto)
	IO          IOMode
	NoWriteback bool // writeback=off
	Live        bool
	SizeLimit   uint64 // bytes; 0 = none

	// RenameLimit bounds what one rename of a lower directory may copy up
	// before it answers EXDEV: rename_limit=BYTES (default DefaultRenameLimit).
	RenameLimit uint64

	AllowOther, AllowRoot bool
	NoDev, NoSuid, NoExec bool // as asked; what a mount in fact gets is decided by cmd
	Dev, Suid, Exec       bool // explicit dev, suid, exec
	NoAtime               bool
	FSName                string
	Keep                  []string // unknown options that a lenient caller kept

	// NoKeeper: the mount ends with its server (keeper=off).
	NoKeeper bool
	// Keeper: one was asked for (keeper=on), and not just meant.
	Keeper bool

	Debug bool // debug: trace every request and stay in the foreground, as -d does
}

// DefaultRenameLimit is the bytes that a rename of a lower directory copies
// up at most unless rename_limit= says otherwise.
const DefaultRenameLimit = 256 << 20
