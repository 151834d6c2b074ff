package dialect

import (
	"strconv"
	"strings"
)

// Severity says what a finding means for the next mount.
type Severity uint8

// The severities.
const (
	SevInfo    Severity = iota // belongs there
	SevWarning                 // works here, but not everywhere; or is left over, and the next mount tidies it
	SevError                   // damaged, or reason to refuse a mount
)

func (s Severity) String() string { return [...]string{"info", "warning", "error"}[s] }

// Kind says what was found.
type Kind uint8

// The kinds. Their words are part of what fsck prints: don't change them.
const (
	WhiteoutChar     Kind = iota // character device 0:0
	WhiteoutXattr                // empty file with overlay.whiteout
	WhiteoutFile                 // .wh.NAME
	AUFSMeta                     // other .wh..wh.*
	OpaqueTrusted                // trusted.overlay.opaque=y
	OpaqueUser                   // user.overlay.opaque=y
	OpaqueFuse                   // user.fuseoverlayfs.opaque=y
	OpaqueFile                   // .wh..wh..opq
	OpaqueX                      // overlay.opaque=x
	WhiteoutInOpaque             // a whiteout that hides nothing
	Conflict                     // NAME next to .wh.NAME
	RedirectDir                  // overlay.redirect
	MetacopyFile                 // overlay.metacopy: the data is in a lower layer
	OverrideIgnored              // override_stat where no reader looks
	BadXattr                     // a value of the wrong form
	Misplaced                    // a mark on what it has no meaning on
	UnknownXattr                 // in a namespace of ours, but nothing known
	SpecialFile                  // device, fifo or socket
	MountPoint                   // another mount; not looked into
	Unreadable                   // could not be looked at
	Leftover                     // temporary object of a copy-up or a removal
	Volatile                     // work/incompat/…: not synced before a crash, maybe
	WorkEntry                    // what does not belong in a work directory

	numKinds
)

var kindWords = [numKinds]string{
	WhiteoutChar:     "whiteout-char",
	WhiteoutXattr:    "whiteout-xattr",
	WhiteoutFile:     "whiteout-file",
	AUFSMeta:         "aufs-meta",
	OpaqueTrusted:    "opaque-trusted",
	OpaqueUser:       "opaque-user",
	OpaqueFuse:       "opaque-fuse",
	OpaqueFile:       "opaque-file",
	OpaqueX:          "opaque-x",
	WhiteoutInOpaque: "whiteout-in-opaque",
	Conflict:         "conflict",
	RedirectDir:      "redirect",
	MetacopyFile:     "metacopy",
	OverrideIgnored:  "override-ignored",
	BadXattr:         "bad-xattr",
	Misplaced:        "misplaced",
	UnknownXattr:     "unknown-xattr",
	SpecialFile:      "special-file",
	MountPoint:       "mount-point",
	Unreadable:       "unreadable",
	Leftover:         "leftover",
	Volatile:         "volatile",
	WorkEntry:        "work-entry",
}

func (k Kind) String() string { return kindWords[k] }

// Finding is one thing that the checker found.
type Finding struct {
	Path     string // relative to the upper, or to the work directory; "." is the directory itself
	InWork   bool   // Path is below the work directory
	Kind     Kind
	Severity Severity
	Detail   string // what and what of it; may be empty
}

// String is the finding as one line: severity, kind, path, detail.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Severity.String())
	b.WriteByte(' ')
	b.WriteString(f.Kind.String())
	b.WriteByte(' ')
	if f.InWork {
		b.WriteString("workdir:")
	}
	b.WriteString(quotePath(f.Path))
	if f.Detail != "" {
		b.WriteString(": ")
		b.WriteString(f.Detail)
	}
	return b.String()
}

// quotePath keeps a path on its line: with quotes when it has anything in it
// that a terminal or a reader of lines could take amiss.
func quotePath(p string) string {
	for _, r := range p {
		if r <= ' ' || r == '"' || r == '\\' || r == 0xfffd || !strconv.IsPrint(r) {
			return strconv.Quote(p)
		}
	}
	return p
}

// Dialect is the way in which an upper directory says things.
type Dialect uint8

// The dialects.
const (
	DialectPlain   Dialect = iota // nothing that not every reader understands
	DialectTrusted                // the kernel's, trusted.overlay.*
	DialectUser                   // the kernel's, user.overlay.*
	DialectFuse                   // fuse-overlayfs
	DialectAUFS                   // .wh. files only
	DialectMixed                  // no single reader understands all
)

func (d Dialect) String() string {
	return [...]string{"plain", "kernel (trusted.overlay)", "kernel (user.overlay)", "fuse-overlayfs", "aufs", "mixed"}[d]
}

// marks are the traits that a dialect is told by.
type marks uint16

const (
	markTrustedOpaque marks = 1 << iota // fuse-overlayfs writes these two as well …
	markUserOpaque
	markTrusted // … but none of the kernel's other records
	markUser
	markFuse     // user.fuseoverlayfs.*
	markSentinel // .wh..wh..opq beside an opaque xattr: only fuse-overlayfs writes both
	markDotWh    // other .wh. names
)

// dialect tells the dialect by the marks that were seen. Whiteout devices
// don't count: all but AUFS have them.
func (m marks) dialect() Dialect {
	trusted := m&(markTrusted|markTrustedOpaque) != 0
	user := m&(markUser|markUserOpaque) != 0
	switch {
	case m&(markFuse|markSentinel) != 0:
		if m&(markTrusted|markUser) != 0 {
			return DialectMixed
		}
		return DialectFuse
	case trusted && user, (trusted || user) && m&markDotWh != 0:
		return DialectMixed
	case trusted:
		return DialectTrusted
	case user:
		return DialectUser
	case m&markDotWh != 0:
		return DialectAUFS
	}
	return DialectPlain
}
