package node

import "sync/atomic"

// Opens is what a record keeps of a node's open files, where files are opened
// with a message. It lies where Flushed has its time, which only a kernel that
// keeps times itself has: such a kernel opens without a message.
type Opens struct {
	Backing int32  // with Passed: the kernel's number for the file that it was given
	Count   uint32 // files that are open
	Writers uint32 // of those, for writing
}

// Opens is protected by the caller's lock for the node.
func (r *Rec) Opens() Opens {
	return Opens{Backing: int32(r.Mtime >> 32), Count: uint32(r.Mtime), Writers: r.MtimeNs}
}

// SetOpens keeps o. The caller holds its lock for the node.
func (r *Rec) SetOpens(o Opens) {
	r.Mtime = int64(o.Backing)<<32 | int64(o.Count)
	r.MtimeNs = o.Writers
}

// Replace gives a node's place, and what is known of it, to a new node. The old
// one stays for those who hold it, is found by no name, has Moved, and holds the
// new one, whose id is in Key. The caller holds its lock for node i, which is
// alive and no directory.
func (t *Table) Replace(i uint32) (ID, uint32, error) {
	r := t.rec(i)
	n, e := t.fill(r.parent, t.Name(r), &Init{Ino: r.Ino, Key: r.Key, Layer: r.Layer, Data: r.Data, Type: r.Type, Flags: r.Flags() &^ (Origin | passFlags)})
	if e != 0 {
		return None, 0, e
	}
	m := t.rec(n)
	m.OKey, m.OLayer, m.Delta = r.OKey, r.OLayer, r.Delta
	if r.Has(Origin) {
		if e := t.copyOrigin(m, r); e != nil {
			t.put(n)
			t.unref(r.parent)
			return None, 0, e
		}
	}
	atomic.StoreUint32(&m.refs, 1)
	atomic.StoreUint64(&m.lookups, 0)

	s := t.shard(r.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	t.unhashLocked(s, i)
	t.hashLocked(s, n, r.hash)
	for _, k := range t.keys[i] {
		t.links[k] = n
	}
	if keys := t.keys[i]; keys != nil {
		t.keys[n] = keys
		delete(t.keys, i)
	}
	r.Key = uint64(t.ID(n))
	atomic.StoreUint32(&r.flags, r.Flags()&(Upper|Origin|passFlags)|Dead|Moved)
	return t.ID(n), n, nil
}

// copyOrigin gives m the lower place of r.
func (t *Table) copyOrigin(m, r *Rec) error {
	t.allocMu.Lock()
	off, err := t.names.alloc(t.names.get(r.oOff, int(r.oLen)))
	t.allocMu.Unlock()
	if err != nil {
		return err
	}
	m.oOff, m.oLen, m.OParent = off, r.oLen, r.OParent
	atomic.AddUint32(&t.rec(r.OParent).refs, 1)
	m.Set(Origin)
	return nil
}

// Flags are all flags.
func (r *Rec) Flags() uint32 { return atomic.LoadUint32(&r.flags) }
