package sandbox

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is what happened to a path.
type Kind string

// The kinds.
const (
	Added    Kind = "added"
	Changed  Kind = "changed"
	Deleted  Kind = "deleted"
	Replaced Kind = "replaced" // by an object of another type
)

// Letter is the kind as git writes it.
func (k Kind) Letter() string {
	switch k {
	case Added:
		return "A"
	case Changed:
		return "C"
	case Deleted:
		return "D"
	}
	return "T"
}

// What of an object has changed.
const (
	content = "content"
	mode    = "mode"
	owner   = "owner"
	xattrs  = "xattrs"
	target  = "target" // of a symbolic link
	device  = "device" // the number of a device node
)

// Change is one path that is not as on the host.
type Change struct {
	Path    string   `json:"path"` // from the root, with its leading slash
	Kind    Kind     `json:"kind"`
	Type    string   `json:"type"`               // file, dir, symlink, fifo, socket, char, block
	OldType string   `json:"old_type,omitempty"` // with replaced
	What    []string `json:"what,omitempty"`     // with changed: content, mode, owner, xattrs, target, device

	Mode    string `json:"mode,omitempty"` // octal, of the new object
	OldMode string `json:"old_mode,omitempty"`
	// UID and GID are there when an owner was given in the sandbox.
	UID     *uint32 `json:"uid,omitempty"`
	GID     *uint32 `json:"gid,omitempty"`
	Size    int64   `json:"size"`
	OldSize int64   `json:"old_size,omitempty"`
	Target  string  `json:"target,omitempty"`  // of a symbolic link
	LinkTo  string  `json:"link_to,omitempty"` // another path of the same file, earlier in the list

	// Conflict says what the host has done to the path meanwhile.
	Conflict string `json:"conflict,omitempty"`
	// Kept says why the path is never put on the host.
	Kept string `json:"kept,omitempty"`

	node   *object // nil with deleted
	before *object // nil with added
}

// has says whether this part has changed.
func (c *Change) has(part string) bool {
	for _, w := range c.What {
		if w == part {
			return true
		}
	}
	return false
}

// Line is the change as one line: letter and path, a directory with a slash.
func (c *Change) Line() string {
	line := c.Kind.Letter() + " " + Quote(c.Name())
	switch {
	case c.Kind == Replaced:
		line += " (" + c.OldType + " is now " + c.Type + ")"
	case c.Kind == Changed && !c.has(content):
		line += " (" + strings.Join(c.What, ", ") + ")"
	case c.Kind == Added && c.Type == "symlink":
		line += " -> " + Quote(c.Target)
	case c.LinkTo != "":
		line += " (link to " + Quote(c.LinkTo) + ")"
	}
	switch {
	case c.Kept != "":
		line += " [stays in the sandbox: " + c.Kept + "]"
	case c.Conflict != "":
		line += " [conflict: " + c.Conflict + "]"
	}
	return line
}

// Name is the path, a directory's with a slash at its end.
func (c *Change) Name() string {
	if c.Type == "dir" {
		return c.Path + "/"
	}
	return c.Path
}

// Quote keeps a path on its line, as git does.
func Quote(path string) string {
	plain := true
	for i := 0; i < len(path); i++ {
		if c := path[i]; c < 0x20 || c == '"' || c == '\\' || c == 0x7f {
			plain = false
		}
	}
	if plain {
		return path
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c == 0x7f:
			b.WriteByte('\\')
			b.WriteByte('0' + c>>6)
			b.WriteByte('0' + c>>3&7)
			b.WriteByte('0' + c&7)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// typeWord is the type of a mode.
func typeWord(m uint32) string {
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		return "dir"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "char"
	case unix.S_IFBLK:
		return "block"
	}
	return "file"
}
