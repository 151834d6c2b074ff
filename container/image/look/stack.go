package look

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Entry is one object in a layer, or a deletion.
type Entry struct {
	Path     string // from "/" on, with no slash at its end
	Mode     fs.FileMode
	UID, GID int
	Size     int64  // of a regular file; 0 for further hard links to one
	Link     string // where a symbolic link leads
	Gone     bool   // what lies below under this name is deleted
	Opaque   bool   // what lies below in this directory is hidden; with no mode, it is this mark only
}

// Layer is one layer.
type Layer struct {
	Name    string
	Command string // what made it
	Entries []Entry
	// Open opens a regular file of it.
	Open func(path string) (io.ReadCloser, error)
}

// Bytes is what its files hold.
func (l *Layer) Bytes() (n int64) {
	for i := range l.Entries {
		n += l.Entries[i].Size
	}
	return n
}

// Stack is layers, the lowest first.
type Stack struct {
	Name   string
	Layers []Layer
}

// The kinds of a node.
const (
	Same    = ' '
	Added   = 'A'
	Changed = 'C'
	Deleted = 'D'
)

// Node is an object in the tree that a stack shows.
type Node struct {
	Entry
	Kind     byte
	Layer    int // the one that it comes from
	Below    int // of what is changed or deleted: the one that it came from before; else -1
	Children []*Node

	by map[string]*Node
}

// Name is the last part of its path.
func (n *Node) Name() string { return path.Base(n.Path) }

// Tree is what layers 0 to to show, with what layers from to to have done to
// those below. What they deleted is in it, too.
func (s *Stack) Tree(from, to int) *Node {
	root := &Node{Entry: Entry{Path: "/", Mode: fs.ModeDir | 0o755}, Kind: Same, Below: -1}
	for i := 0; i <= to && i < len(s.Layers); i++ {
		root.apply(&s.Layers[i], i, i >= from, nil)
	}
	root.finish()
	return root
}

// apply puts a layer over what is there; hidden is told of each file that shows no
// more.
func (n *Node) apply(l *Layer, layer int, mark bool, hidden func(*Node)) {
	for i := range l.Entries { // deletions are about what lies below
		e := &l.Entries[i]
		if at := n.find(e.Path); at != nil && e.Gone {
			at.remove(mark, hidden)
			if !mark || at.Kind != Deleted {
				delete(n.find(path.Dir(e.Path)).by, at.Name())
			}
		} else if at != nil && e.Opaque {
			at.empty(mark, hidden)
		}
	}
	for i := range l.Entries {
		if e := &l.Entries[i]; !e.Gone && (!e.Opaque || e.Mode != 0) {
			n.put(*e, layer, mark, hidden)
		}
	}
}

func (n *Node) put(e Entry, layer int, mark bool, hidden func(*Node)) {
	if e.Path == "/" {
		n.Entry = e
		return
	}
	up := n
	for part := range strings.SplitSeq(strings.Trim(path.Dir(e.Path), "/"), "/") {
		if part == "" {
			continue
		}
		next := up.by[part]
		if next == nil || next.Kind == Deleted || !next.Mode.IsDir() { // only implied
			implied := Entry{Path: path.Join(up.Path, part), Mode: fs.ModeDir | 0o755}
			next = up.set(&Node{Entry: implied, Kind: kindIf(mark, Added), Layer: layer, Below: -1})
		}
		up = next
	}
	name := path.Base(e.Path)
	old := up.by[name]
	fresh := &Node{Entry: e, Kind: kindIf(mark, Added), Layer: layer, Below: -1}
	if old == nil {
		up.set(fresh)
		return
	}
	if old.Mode.IsDir() && e.Mode.IsDir() && old.Kind != Deleted {
		fresh.by = old.by
		if old.Kind == Same && old.looks() == fresh.looks() {
			fresh.Kind, fresh.Layer = Same, old.Layer
		}
	} else if old.Kind != Deleted {
		old.remove(false, hidden)
	} else if e.Mode.IsDir() {
		fresh.by = old.by // what was in it is deleted, still
	}
	if fresh.Kind == Added && old.Kind != Added {
		fresh.Kind, fresh.Below = Changed, old.Below
		if old.Kind == Same {
			fresh.Below = old.Layer
		}
	}
	up.set(fresh)
}

// looks is what is compared of directories.
func (n *Node) looks() [3]int { return [3]int{int(n.Mode), n.UID, n.GID} }

// remove takes it and what is below away: with mark, what was there before is
// deleted, and what is new is gone.
func (n *Node) remove(mark bool, hidden func(*Node)) {
	n.empty(mark, hidden)
	if n.Kind == Deleted {
		return
	}
	if hidden != nil {
		hidden(n)
	}
	if mark && n.Kind != Added {
		if n.Kind == Same {
			n.Below = n.Layer
		}
		n.Kind = Deleted
	}
}

func (n *Node) empty(mark bool, hidden func(*Node)) {
	for name, c := range n.by {
		c.remove(mark, hidden)
		if !mark || c.Kind != Deleted {
			delete(n.by, name)
		}
	}
}

func kindIf(mark bool, k byte) byte {
	if mark {
		return k
	}
	return Same
}

func (n *Node) set(c *Node) *Node {
	if n.by == nil {
		n.by = map[string]*Node{}
	}
	n.by[c.Name()] = c
	return c
}

// find finds a path below the root.
func (n *Node) find(p string) *Node {
	at := n
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if part != "" {
			if at = at.by[part]; at == nil {
				return nil
			}
		}
	}
	return at
}

// finish makes the lists of children.
func (n *Node) finish() {
	for _, c := range n.by {
		c.finish()
		n.Children = append(n.Children, c)
	}
	n.by = nil
	slices.SortFunc(n.Children, func(a, b *Node) int { return strings.Compare(a.Path, b.Path) })
}

// Has says whether anything at or below it is of one of the kinds.
func (n *Node) Has(kinds string) bool {
	return strings.IndexByte(kinds, n.Kind) >= 0 || slices.ContainsFunc(n.Children, func(c *Node) bool { return c.Has(kinds) })
}

// Bytes is what the files at and below it hold.
func (n *Node) Bytes() (total int64) {
	if n.Kind != Deleted {
		total = n.Size
	}
	for _, c := range n.Children {
		total += c.Bytes()
	}
	return total
}
