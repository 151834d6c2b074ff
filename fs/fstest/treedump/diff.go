package treedump

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Epoch divides the times that a test sets from those that the system sets:
// whatever is later is "now", and two times that are both "now" are equal.
var Epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// TimeText is a modification time as Diff compares it.
func TimeText(ts unix.Timespec) string {
	if int64(ts.Sec) >= Epoch {
		return "now"
	}
	return fmt.Sprintf("%d.%09d", ts.Sec, ts.Nsec)
}

// TypeName is the letter that ls shows for S_IFMT bits.
func TypeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
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
	case 0:
		return "absent"
	}
	return fmt.Sprintf("%#o", mode&unix.S_IFMT)
}

// Field is one thing about a node that two trees have to agree on.
type Field struct {
	Name, Value string
}

// Fields lists what is compared of a node. Inode numbers are not (Links tells
// which names are one file), nor sizes of directories, which mean nothing.
func (n *Node) Fields() []Field {
	f := []Field{
		{"type", TypeName(n.Type)},
		{"mode", fmt.Sprintf("%04o", n.Mode)},
		{"owner", fmt.Sprintf("%d:%d", n.UID, n.GID)},
		{"nlink", fmt.Sprint(n.Nlink)},
		{"mtime", TimeText(n.Mtime)},
		{"xattrs", strings.Join(n.Xattrs, " ")},
		{"err", n.Err},
	}
	switch n.Type {
	case unix.S_IFREG:
		f = append(f, Field{"size", fmt.Sprint(n.Size)}, Field{"content", n.Sum})
	case unix.S_IFLNK:
		f = append(f, Field{"size", fmt.Sprint(n.Size)}, Field{"target", n.Target})
	case unix.S_IFCHR, unix.S_IFBLK:
		f = append(f, Field{"rdev", fmt.Sprintf("%d:%d", unix.Major(n.Rdev), unix.Minor(n.Rdev))})
	}
	return f
}

// String is the node on one line.
func (n *Node) String() string {
	var b strings.Builder
	b.WriteString(n.Path)
	for _, f := range n.Fields() {
		if f.Value != "" {
			fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
		}
	}
	return b.String()
}

// Links says which names of the tree are one file: "a = c/b".
func (t *Tree) Links() []string {
	byIno := make(map[uint64][]string)
	for _, p := range t.Paths() {
		if n := t.Nodes[p]; n.Type != 0 && n.Type != unix.S_IFDIR {
			byIno[n.Ino] = append(byIno[n.Ino], p)
		}
	}
	var out []string
	for _, names := range byIno {
		if len(names) > 1 {
			out = append(out, strings.Join(names, " = "))
		}
	}
	slices.Sort(out)
	return out
}

// Ignore says that a difference is not one. Either node may be nil: the name
// is missing in that tree, and field is "exists".
type Ignore func(field string, a, b *Node) bool

// Diff lists where two trees differ, one line each, with what a and b are
// called. A nil ignore ignores nothing.
func Diff(aName string, a *Tree, bName string, b *Tree, ignore Ignore) []string {
	if ignore == nil {
		ignore = func(string, *Node, *Node) bool { return false }
	}
	var out []string
	for _, p := range union(a.Paths(), b.Paths()) {
		an, bn := a.Nodes[p], b.Nodes[p]
		switch {
		case an == nil || bn == nil:
			if !ignore("exists", an, bn) {
				out = append(out, fmt.Sprintf("%s: only in %s: %s", p, pick(an != nil, aName, bName), one(an, bn)))
			}
		default:
			out = append(out, diffNode(aName, an, bName, bn, ignore)...)
		}
	}
	al, bl := strings.Join(a.Links(), "; "), strings.Join(b.Links(), "; ")
	if al != bl && !ignore("links", a.Nodes["."], b.Nodes["."]) {
		out = append(out, fmt.Sprintf("names of one file: %s %q, %s %q", aName, al, bName, bl))
	}
	return out
}

func diffNode(aName string, a *Node, bName string, b *Node, ignore Ignore) []string {
	var out []string
	af, bf := fieldMap(a), fieldMap(b)
	for _, f := range union(keys(a), keys(b)) {
		if af[f] != bf[f] && !ignore(f, a, b) {
			out = append(out, fmt.Sprintf("%s: %s: %s %s, %s %s", a.Path, f, aName, quote(af[f]), bName, quote(bf[f])))
		}
	}
	return out
}

func keys(n *Node) []string {
	var out []string
	for _, f := range n.Fields() {
		out = append(out, f.Name)
	}
	return out
}

func fieldMap(n *Node) map[string]string {
	m := make(map[string]string)
	for _, f := range n.Fields() {
		m[f.Name] = f.Value
	}
	return m
}

func quote(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func one(a, b *Node) *Node {
	if a != nil {
		return a
	}
	return b
}

// union is every element of a and b once, sorted.
func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
