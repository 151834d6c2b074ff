package union

import (
	"sync/atomic"

	"github.com/plyfs/plyfs/fs/node"
)

// begin writes down what is about to be done; what has no name is a zero
// intent. nil when nothing is kept. The directories' locks are held: there is
// no other change of their names under way.
func (m *memory) begin(in *intent, name, name2 string) *intent {
	if m == nil {
		return nil
	}
	in.len, in.len2 = uint32(copy(in.text[:255], name)), uint32(copy(in.text2[:255], name2))
	t := &m.intents
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.kind != intentCopyUp {
		t.answeredLocked(in.parent)
		if in.parent2 != in.parent && in.parent2 != node.None {
			t.answeredLocked(in.parent2)
		}
	}
	slot := t.slotLocked()
	t.seq++
	in.seq = t.seq
	in.state = intentFree
	slot.fill(in)
	atomic.StoreUint32(&slot.state, intentBegun)
	if in.kind != intentCopyUp {
		t.of[in.parent] = slot
		if in.parent2 != node.None {
			t.of[in.parent2] = slot
		}
	}
	return slot
}

// fill copies all but the names' unused ends.
func (in *intent) fill(from *intent) {
	text, text2 := from.text[:from.len], from.text2[:from.len2]
	in.kind, in.flags, in.delta, in.delta2 = from.kind, from.flags, from.delta, from.delta2
	in.nlink, in.lowLayer, in.seq = from.nlink, from.lowLayer, from.seq
	in.parent, in.parent2, in.id, in.id2 = from.parent, from.parent2, from.id, from.id2
	in.ino, in.lowIno, in.len, in.len2 = from.ino, from.lowIno, from.len, from.len2
	copy(in.text[:], text)
	copy(in.text2[:], text2)
}

// answeredLocked frees the last intent of a directory: somebody else changes it
// now.
func (t *intents) answeredLocked(dir node.ID) {
	in := t.of[dir]
	if in == nil || in.state != intentDone {
		delete(t.of, dir)
		return
	}
	t.dropLocked(in)
}

func (t *intents) dropLocked(in *intent) {
	for _, p := range [...]node.ID{in.parent, in.parent2} {
		if t.of[p] == in {
			delete(t.of, p)
		}
	}
	atomic.StoreUint32(&in.state, intentFree)
	t.free = append(t.free, in)
}

// slotLocked is a free slot. When all are taken one goes that is done, and so old
// that its answer is long given: at least half of all are of that age.
func (t *intents) slotLocked() *intent {
	for n := 0; len(t.free) == 0; n++ {
		if n == len(t.slots) {
			return &intent{} // a thousand at once: this one isn't kept
		}
		in := &t.slots[t.hand]
		t.hand = (t.hand + 1) % len(t.slots)
		if in.state == intentDone && in.seq+intentSlots/2 <= t.seq {
			t.dropLocked(in)
		}
	}
	n := len(t.free) - 1
	slot := t.free[n]
	t.free = t.free[:n]
	return slot
}

// done says that all that belongs to the intent was done, or with an error that
// nothing was.
func (m *memory) done(in *intent, failed bool) {
	if in == nil {
		return
	}
	if !failed && in.kind != intentCopyUp {
		atomic.StoreUint32(&in.state, intentDone)
		return
	}
	t := &m.intents
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.seq != 0 {
		t.dropLocked(in)
	}
}

// Change is a request that changes names, to be recognised when it comes again.
// Name2 and Parent2 are those of a rename.
type Change struct {
	Kind            ChangeKind
	Parent, Parent2 node.ID
	Name, Name2     string
}

// ChangeKind is what a Change does.
type ChangeKind uint32

// The kinds of a Change.
const (
	ChangeMake   ChangeKind = intentMake // mkdir, mknod, create, symlink
	ChangeUnlink ChangeKind = intentUnlink
	ChangeRmdir  ChangeKind = intentRmdir
	ChangeRename ChangeKind = intentRename
	ChangeLink   ChangeKind = intentLink
)

// WasDone says whether a request that the kernel sends again, since the server
// that had read it died, was done by that one.
func (fs *FS) WasDone(c *Change) bool {
	if fs.mem == nil {
		return false
	}
	t := &fs.mem.intents
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.of[c.Parent]
	return in != nil && in.state == intentDone && in.kind == uint32(c.Kind) &&
		in.parent == c.Parent && in.parent2 == c.Parent2 && in.name() == c.Name && in.name2() == c.Name2
}
