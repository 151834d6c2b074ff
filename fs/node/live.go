package node

import "iter"

// Live are the nodes that there are beside the root, in no order that means something. A node
// that comes or goes meanwhile may be there or not.
func (t *Table) Live() iter.Seq[ID] {
	return func(yield func(ID) bool) {
		for i := uint32(headerRecs); int64(i) < t.limit.Load(); i++ {
			t.allocMu.Lock()
			used := int(i/64) < len(t.used) && t.used[i/64]&(1<<(i%64)) != 0
			t.allocMu.Unlock()
			if !used {
				continue
			}
			if id := t.ID(i); t.Get(id) != nil && !yield(id) {
				return
			}
		}
	}
}
