package fusefs

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// listed is an entry of a listing, as the kernel would read it.
type listed struct {
	name      string
	ino, next uint64
	typ       uint32
	entry     fuse.EntryOut
}

// parseDir reads a reply like the kernel's parse_dirfile does.
func parseDir(t *testing.T, p []byte, plus bool) (all []listed) {
	t.Helper()
	for len(p) > 0 {
		var l listed
		head := 0
		if plus {
			l.entry = *at[fuse.EntryOut](p)
			head = entrySize
		}
		d := at[dirent](p[head:])
		size := align(head + direntSize + int(d.namelen))
		if size > len(p) {
			t.Fatalf("an entry of %d bytes where %d are left", size, len(p))
		}
		l.name = string(p[head+direntSize:][:d.namelen])
		l.ino, l.next, l.typ = d.ino, d.off, d.typ
		all = append(all, l)
		p = p[size:]
	}
	return all
}

// TestReaddir lists a directory in buffers of many sizes: every name comes
// exactly once, whatever fits.
func TestReaddir(t *testing.T) {
	b := newTB(t, nil)
	root := b.tree.nodes[1]
	for i := range 50 {
		b.tree.add(root, fmt.Sprintf("name-%0*d", 1+i%20, i), syscall.S_IFREG|0o644)
	}
	for _, op := range []uint32{opReaddir, opReaddirplus} {
		for size := uint32(200); size < 2000; size += 7 {
			plus := op == opReaddirplus
			seen := map[string]bool{}
			var looked uint64
			for off := uint64(0); ; {
				p := b.must(op, 1, readIn(size, off))
				if len(p) == 0 {
					break
				}
				if len(p) > int(size) {
					t.Fatalf("%d bytes in a buffer of %d", len(p), size)
				}
				for _, l := range parseDir(t, p, plus) {
					if seen[l.name] {
						t.Fatalf("size %d: %q came twice", size, l.name)
					}
					seen[l.name] = true
					off = l.next
					if plus && l.name != "." && l.name != ".." {
						if l.entry.NodeId == 0 || l.entry.Ino != l.ino || l.entry.EntryValid != forever {
							t.Fatalf("entry of %q: %+v", l.name, l.entry)
						}
						looked++
					} else if l.entry.NodeId != 0 {
						t.Fatalf("%q has node %d", l.name, l.entry.NodeId)
					}
				}
			}
			if len(seen) != len(root.kids)+2 {
				t.Fatalf("%s, size %d: %d names, want %d", ops[op].name, size, len(seen), len(root.kids)+2)
			}
			var counted uint64
			for _, k := range root.kids {
				counted += k.lookups
				k.lookups = 0
			}
			if counted != looked {
				t.Fatalf("size %d: %d look-ups counted, %d reached the kernel", size, counted, looked)
			}
		}
	}
}

// TestReaddirSloppy: a tree that counts an entry without asking for room gets
// the count back.
func TestReaddirSloppy(t *testing.T) {
	b := newTB(t, nil)
	b.tree.sloppy = true
	p := b.must(opReaddirplus, 1, readIn(600, 0))
	n := len(parseDir(t, p, true)) - 2
	var counted uint64
	for _, k := range b.tree.nodes[1].kids {
		counted += k.lookups
	}
	if int(counted) != n {
		t.Errorf("%d look-ups counted, %d entries in the reply", counted, n)
	}
}

// TestLostReply: the counts of a reply that the kernel didn't take are taken back.
func TestLostReply(t *testing.T) {
	b := newTB(t, nil)
	b.dev.refuse = syscall.ENOENT
	b.w.send(b.w.handle(message(opLookup, 1, "file")))
	b.w.send(b.w.handle(message(opReaddirplus, 1, readIn(4096, 0))))
	b.w.send(b.w.handle(message(opCreate, 1, body(fuse.CreateIn{}), "new")))
	for id, n := range b.tree.nodes {
		if n.lookups != 0 {
			t.Errorf("node %d (%s) has %d look-ups that nobody will forget", id, n.path, n.lookups)
		}
	}
}
