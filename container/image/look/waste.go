package look

import (
	"io/fs"
	"slices"
	"strings"
)

// Waste is what dive measures of an image.
type Waste struct {
	Bytes      int64   // of all files in all layers
	Wasted     int64   // of files that several layers have, or that one deletes: all of their bytes
	Efficiency float64 // from 0 to 1: what would do, of what is there
	UserWasted float64 // wasted bytes for each byte above the lowest layer
	Files      []WastedFile
}

// WastedFile is a path that more than one layer has something to say of.
type WastedFile struct {
	Path   string
	Layers int
	Bytes  int64
}

// Waste measures the stack as dive does: for each path, the bytes that the layers
// have for it, and the least of these, a deletion being none.
func (s *Stack) Waste() Waste {
	type sum struct {
		times       int
		all, lowest int64
	}
	paths := map[string]*sum{}
	count := func(p string, n int64) {
		at := paths[p]
		if at == nil {
			at = &sum{lowest: n}
			paths[p] = at
		}
		at.times++
		at.all += n
		at.lowest = min(at.lowest, n)
	}
	var w Waste
	var user int64
	root := &Node{Entry: Entry{Path: "/", Mode: fs.ModeDir}}
	for i := range s.Layers {
		l := &s.Layers[i]
		own := map[string]bool{}
		for j := range l.Entries {
			if e := &l.Entries[j]; !e.Gone && e.Mode.IsRegular() {
				own[e.Path] = true
				count(e.Path, e.Size)
			}
		}
		root.apply(l, i, false, func(n *Node) {
			if n.Mode.IsRegular() && !own[n.Path] {
				count(n.Path, 0)
			}
		})
		w.Bytes += l.Bytes()
		if i > 0 {
			user += l.Bytes()
		}
	}
	var least, all int64
	for p, at := range paths {
		least += at.lowest
		all += at.all
		if at.times > 1 {
			w.Wasted += at.all
			w.Files = append(w.Files, WastedFile{p, at.times, at.all})
		}
	}
	slices.SortFunc(w.Files, func(a, b WastedFile) int {
		if a.Bytes != b.Bytes {
			return int(max(min(b.Bytes-a.Bytes, 1), -1))
		}
		return strings.Compare(a.Path, b.Path)
	})
	w.Efficiency = 1
	if all > 0 {
		w.Efficiency = float64(least) / float64(all)
	}
	if user > 0 {
		w.UserWasted = float64(w.Wasted) / float64(user)
	}
	return w
}
