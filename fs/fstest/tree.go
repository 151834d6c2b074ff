package fstest

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is one object of a layer, as a case declares it.
type Node struct {
	Mode     uint32 // type and permission bits
	Data     string
	Target   string // of a symlink; of a hard link: the path that it shares the inode with
	UID, GID int
	Rdev     uint64
	Xattr    map[string]string
	Mtime    int64 // nanoseconds; 0 = defaultMtime
	Hole     int64 // bytes of hole before Data

	hard, white, opaque bool
	raw                 bool // made by one mknod, with no care for times
}

// Tree is a layer: what lies at each path, relative to the case's directory.
// Parents that are not named are directories of mode 0755; "." is the case's
// directory itself.
type Tree map[string]Node

// defaultMtime is what declared files carry: a time with nanoseconds, long
// gone, so that any touch shows.
const defaultMtime = 1_500_000_000_123_456_789

// File is a regular file.
func File(data string) Node { return Node{Mode: unix.S_IFREG | 0o644, Data: data} }

// Dir is a directory, merged with what lies below it.
func Dir() Node { return Node{Mode: unix.S_IFDIR | 0o755} }

// Opaque is a directory that hides what lies below it.
func Opaque() Node { return Node{Mode: unix.S_IFDIR | 0o755, opaque: true} }

// White is a whiteout.
func White() Node { return Node{Mode: unix.S_IFCHR, white: true} }

// Sym is a symlink.
func Sym(target string) Node { return Node{Mode: unix.S_IFLNK | 0o777, Target: target} }

// Link is another name of the file at the path to.
func Link(to string) Node { return Node{Mode: unix.S_IFREG, Target: to, hard: true} }

// Fifo is a named pipe.
func Fifo() Node { return Node{Mode: unix.S_IFIFO | 0o644} }

// Chr is a character device.
func Chr(major, minor uint32) Node {
	return Node{Mode: unix.S_IFCHR | 0o644, Rdev: unix.Mkdev(major, minor)}
}

// Perm gives the node other permission bits.
func (n Node) Perm(bits uint32) Node {
	n.Mode = n.Mode&unix.S_IFMT | bits
	return n
}

// Own gives the node an owner.
func (n Node) Own(uid, gid int) Node {
	n.UID, n.GID = uid, gid
	return n
}

// X gives the node an extended attribute.
func (n Node) X(name, value string) Node {
	m := maps.Clone(n.Xattr)
	if m == nil {
		m = map[string]string{}
	}
	m[name] = value
	n.Xattr = m
	return n
}

// At sets the modification time, in nanoseconds.
func (n Node) At(ns int64) Node {
	n.Mtime = ns
	return n
}

// After puts a hole of size bytes before the data.
func (n Node) After(size int64) Node {
	n.Hole = size
	return n
}

func (n Node) isDir() bool { return n.Mode&unix.S_IFMT == unix.S_IFDIR }

// Many is a directory dir with n empty files named prefix0000…
func Many(dir, prefix string, n int) Tree {
	t := Tree{dir: Dir()}
	for i := range n {
		t[path.Join(dir, prefix+num(i))] = Node{Mode: unix.S_IFREG | 0o644, raw: true}
	}
	return t
}

// num is i with leading zeros, so that names sort as numbers do.
func num(i int) string {
	const width = 5
	b := []byte(strings.Repeat("0", width))
	for p := width - 1; i > 0 && p >= 0; p, i = p-1, i/10 {
		b[p] += byte(i % 10)
	}
	return string(b)
}

// paths lists the tree's paths, parents first, hard links last: they need
// their target.
func (t Tree) paths() []string {
	p := slices.Collect(maps.Keys(t))
	slices.SortFunc(p, func(a, b string) int {
		if x, y := t[a].hard, t[b].hard; x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	return p
}

// withParents adds the directories that the tree implies. A directory that
// below already has keeps its attributes: a layer that says nothing about a
// directory doesn't change it.
func (t Tree) withParents(below Tree) Tree {
	out := maps.Clone(t)
	if out == nil {
		out = Tree{}
	}
	for p := range t {
		for d := p; d != "."; {
			d = path.Dir(d)
			if _, ok := out[d]; ok {
				continue
			}
			n, ok := below[d]
			if !ok || !n.isDir() {
				n = Dir()
			}
			n.opaque = false
			out[d] = n
		}
	}
	if _, ok := out["."]; !ok {
		n, ok := below["."]
		if !ok {
			n = Dir()
		}
		out["."] = n
	}
	return out
}

// over is the view of t stacked on below.
func (t Tree) over(below Tree) Tree {
	out := maps.Clone(below)
	if out == nil {
		out = Tree{}
	}
	for _, p := range t.paths() {
		n := t[p]
		old, had := out[p]
		if had && (!n.isDir() || n.opaque || !old.isDir()) {
			for q := range out {
				if strings.HasPrefix(q, p+"/") {
					delete(out, q)
				}
			}
		}
		if n.white {
			delete(out, p)
			continue
		}
		n.opaque = false
		out[p] = n
	}
	return out
}

// stack completes the layers, bottom first, and puts them into n layers: some
// stay empty (nil) or, when there are fewer than the case declared, all are
// merged into one. spread varies where a single layer goes.
func stack(layers []Tree, n, spread int) []Tree {
	full := make([]Tree, len(layers))
	view := Tree{}
	for i, l := range layers {
		full[i] = l.withParents(view)
		view = full[i].over(view)
	}
	out := make([]Tree, n)
	switch {
	case n < len(full):
		out[0] = view
	case len(full) == 1:
		out[spread%n] = full[0]
	default:
		for i, l := range full {
			out[i*(n-1)/(len(full)-1)] = l
		}
	}
	return out
}
