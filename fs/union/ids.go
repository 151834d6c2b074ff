package union

import (
	"bufio"
	"fmt"
	"os"

	"github.com/plyfs/plyfs/fs/layer"
)

// idMap turns the ids of the layers into those that the mount shows, and back.
type idMap struct {
	ranges   []layer.IDRange
	squash   bool
	squashTo uint32
	// known are the ids that the user namespace of the mount maps; nil in the
	// initial one. The kernel neither shows nor accepts another one: nobody
	// could write, rename or remove a file with such an owner.
	known    []layer.IDRange
	fallback uint32
}

// overflowID is what the kernel shows for an id that has no mapping.
const overflowID = 65534

func newIDMap(ranges []layer.IDRange, toRoot bool, to *uint32, procfile string) idMap {
	m := idMap{ranges: ranges}
	if toRoot {
		m.squash = true
	}
	if to != nil {
		m.squash, m.squashTo = true, *to
	}
	m.known = readIDMap(procfile)
	if m.known != nil && m.maps(overflowID) {
		m.fallback = overflowID
	}
	return m
}

// readIDMap reads /proc/self/uid_map or gid_map; nil when it maps everything.
func readIDMap(procfile string) []layer.IDRange {
	f, err := os.Open(procfile)
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []layer.IDRange
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var r layer.IDRange
		if n, _ := fmt.Sscan(sc.Text(), &r.Host, &r.Target, &r.Length); n != 3 {
			continue
		}
		if r.Host == 0 && r.Length == ^uint32(0) {
			return nil
		}
		out = append(out, r)
	}
	return out
}

// maps says whether the mount's user namespace knows the id.
func (m *idMap) maps(id uint32) bool {
	if m.known == nil {
		return true
	}
	for _, r := range m.known {
		if id >= r.Host && id-r.Host < r.Length {
			return true
		}
	}
	return false
}

// show is the id that the mount shows for one in a layer.
func (m *idMap) show(id uint32) uint32 {
	if m.squash {
		return m.squashTo
	}
	if m.ranges != nil {
		to := uint32(overflowID)
		for _, r := range m.ranges {
			if id >= r.Host && id-r.Host < r.Length {
				to = r.Target + (id - r.Host)
				break
			}
		}
		id = to
	}
	if m.known != nil && !m.maps(id) {
		return m.fallback
	}
	return id
}

// store is the id to write to a layer for one that a client gave.
func (m *idMap) store(id uint32) uint32 {
	for _, r := range m.ranges {
		if id >= r.Target && id-r.Target < r.Length {
			return r.Host + (id - r.Target)
		}
	}
	if m.ranges != nil {
		return overflowID
	}
	return id
}
