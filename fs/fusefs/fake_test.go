package fusefs

import (
	"sort"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// fakeNode is a file of a fakeTree.
type fakeNode struct {
	id      node.ID
	path    string
	attr    union.Attr
	data    []byte
	target  string
	xattr   map[string]string
	kids    map[string]*fakeNode
	upper   bool
	lookups uint64
	flags   uint32
}

// fakeTree is a small file system in memory. It counts look-ups like a real
// one, and tests put their own steps in its hooks.
type fakeTree struct {
	mu    sync.Mutex
	nodes map[node.ID]*fakeNode
	next  node.ID

	hook     func(op string) // runs before some ops, with no lock held
	forgets  uint64
	change   union.AttrChange
	caller   union.Caller
	killed   bool
	renamed  uint32
	sloppy   bool // ReadDir doesn't ask Room
	datasync bool
}

func newFakeTree() *fakeTree {
	t := &fakeTree{nodes: map[node.ID]*fakeNode{}, next: node.Root}
	t.add(nil, "", syscall.S_IFDIR|0o755).path = "/"
	f := t.add(t.nodes[node.Root], "file", syscall.S_IFREG|0o644)
	f.data = []byte("hello, world\n")
	f.xattr["user.key"] = "value"
	l := t.add(t.nodes[node.Root], "link", syscall.S_IFLNK|0o777)
	l.target = "file"
	d := t.add(t.nodes[node.Root], "dir", syscall.S_IFDIR|0o755)
	t.add(d, "inner", syscall.S_IFREG|0o600)
	low := t.add(t.nodes[node.Root], "lower", syscall.S_IFREG|0o644)
	low.upper = false
	return t
}

func (t *fakeTree) add(parent *fakeNode, name string, mode uint32) *fakeNode {
	n := &fakeNode{id: t.next, xattr: map[string]string{}, kids: map[string]*fakeNode{}, upper: true}
	n.attr = union.Attr{
		Ino: uint64(t.next) + 100, Mode: mode, Nlink: 1, Blksize: 4096,
		Mtime: union.Time{Sec: 1000, Nsec: 5}, Atime: union.Time{Sec: 1001}, Ctime: union.Time{Sec: 1002},
		Btime: union.Time{Sec: 999, Nsec: 9},
	}
	t.next++
	t.nodes[n.id] = n
	if parent != nil {
		parent.kids[name] = n
		n.path = parent.path + "/" + name
		if parent.id == node.Root {
			n.path = "/" + name
		}
	}
	return n
}

func (t *fakeTree) step(op string) {
	if t.hook != nil {
		t.hook(op)
	}
}

// get is the node, locked; the caller unlocks.
func (t *fakeTree) get(id node.ID) (*fakeNode, syscall.Errno) {
	t.mu.Lock()
	n := t.nodes[id]
	if n == nil {
		return nil, syscall.ESTALE
	}
	n.attr.Size = uint64(len(n.data))
	return n, 0
}

func (t *fakeTree) entry(n *fakeNode, e *union.Entry) {
	n.lookups++
	n.attr.Size = uint64(len(n.data))
	e.Node, e.Attr = n.id, n.attr
}

func (t *fakeTree) Lookup(parent node.ID, name string, e *union.Entry) syscall.Errno {
	t.step("lookup")
	p, errno := t.get(parent)
	defer t.mu.Unlock()
	if errno != 0 {
		return errno
	}
	n := p.kids[name]
	if n == nil {
		return syscall.ENOENT
	}
	t.entry(n, e)
	return 0
}

func (t *fakeTree) Forget(id node.ID, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgets += n
	if f := t.nodes[id]; f != nil {
		f.lookups -= min(n, f.lookups)
	}
}

func (t *fakeTree) GetAttr(id node.ID, a *union.Attr) syscall.Errno {
	t.step("getattr")
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e == 0 {
		*a = n.attr
	}
	return e
}

func (t *fakeTree) Statx(id node.ID, a *union.Attr) syscall.Errno {
	e := t.GetAttr(id, a)
	a.HasBtime = true
	return e
}

func (t *fakeTree) SetAttr(c *union.Caller, id node.ID, ch *union.AttrChange, a *union.Attr) syscall.Errno {
	t.step("setattr")
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return e
	}
	t.caller, t.change = *c, *ch
	if ch.Valid&union.SetMode != 0 {
		n.attr.Mode = n.attr.Mode&syscall.S_IFMT | ch.Mode
	}
	if ch.Valid&union.SetSize != 0 {
		n.data = append(n.data, make([]byte, max(0, int(ch.Size)-len(n.data)))...)[:ch.Size]
		n.attr.Size = ch.Size
	}
	*a = n.attr
	return 0
}

func (t *fakeTree) Readlink(id node.ID) (string, syscall.Errno) {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return "", e
	}
	return n.target, 0
}

func (t *fakeTree) Statfs(st *union.Statfs) syscall.Errno {
	*st = union.Statfs{Blocks: 1000, Bfree: 500, Bavail: 400, Files: 10, Ffree: 5, Bsize: 4096, Frsize: 4096, Namelen: 255}
	return 0
}

func (t *fakeTree) make(c *union.Caller, parent node.ID, name string, mode uint32, e *union.Entry) (*fakeNode, syscall.Errno) {
	p, errno := t.get(parent)
	defer t.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	if p.kids[name] != nil {
		return nil, syscall.EEXIST
	}
	t.caller = *c
	n := t.add(p, string([]byte(name)), mode&^c.Umask)
	t.entry(n, e)
	return n, 0
}

func (t *fakeTree) Mkdir(c *union.Caller, parent node.ID, name string, mode uint32, e *union.Entry) syscall.Errno {
	_, errno := t.make(c, parent, name, mode|syscall.S_IFDIR, e)
	return errno
}

func (t *fakeTree) Mknod(c *union.Caller, parent node.ID, name string, mode, rdev uint32, e *union.Entry) syscall.Errno {
	n, errno := t.make(c, parent, name, mode, e)
	if errno == 0 {
		t.mu.Lock()
		n.attr.Rdev, e.Attr.Rdev = rdev, rdev
		t.mu.Unlock()
	}
	return errno
}

func (t *fakeTree) Symlink(c *union.Caller, parent node.ID, name, target string, e *union.Entry) syscall.Errno {
	n, errno := t.make(c, parent, name, syscall.S_IFLNK|0o777, e)
	if errno == 0 {
		t.mu.Lock()
		n.target = string([]byte(target))
		t.mu.Unlock()
	}
	return errno
}

func (t *fakeTree) Create(c *union.Caller, parent node.ID, name string, mode, _ uint32, e *union.Entry) syscall.Errno {
	_, errno := t.make(c, parent, name, mode|syscall.S_IFREG, e)
	return errno
}

func (t *fakeTree) Tmpfile(c *union.Caller, _ node.ID, mode, _ uint32, e *union.Entry) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.caller = *c
	n := t.add(nil, "", mode&^c.Umask|syscall.S_IFREG)
	n.attr.Nlink = 0
	t.entry(n, e)
	return 0
}

func (t *fakeTree) Link(id, parent node.ID, name string, e *union.Entry) syscall.Errno {
	t.step("link")
	n, errno := t.get(id)
	defer t.mu.Unlock()
	if errno != 0 {
		return errno
	}
	n.attr.Nlink++
	t.nodes[parent].kids[string([]byte(name))] = n
	t.entry(n, e)
	return 0
}

func (t *fakeTree) Unlink(parent node.ID, name string) syscall.Errno {
	p, e := t.get(parent)
	defer t.mu.Unlock()
	if e != 0 {
		return e
	}
	if p.kids[name] == nil {
		return syscall.ENOENT
	}
	delete(p.kids, name)
	return 0
}

func (t *fakeTree) Rmdir(parent node.ID, name string) syscall.Errno { return t.Unlink(parent, name) }

func (t *fakeTree) Rename(op node.ID, on string, np node.ID, nn string, flags uint32) syscall.Errno {
	t.step("rename")
	p, e := t.get(op)
	defer t.mu.Unlock()
	if e != 0 || p.kids[on] == nil || t.nodes[np] == nil {
		return syscall.ENOENT
	}
	t.renamed = flags
	n := p.kids[on]
	delete(p.kids, on)
	t.nodes[np].kids[string([]byte(nn))] = n
	return 0
}

func (t *fakeTree) ReadDir(id node.ID, off uint64, plus bool, sink union.DirSink) syscall.Errno {
	n, errno := t.get(id)
	defer t.mu.Unlock()
	if errno != 0 {
		return errno
	}
	if len(n.kids) == 0 && off > 0 {
		return 0
	}
	t.step("readdir")
	names := make([]string, 0, 16)
	names = append(names, ".", "..")
	for k := range n.kids {
		names = append(names, k)
	}
	if len(names) > 2 {
		sort.Strings(names[2:])
	}
	var e union.Entry
	for i := int(off); i < len(names); i++ {
		k := n.kids[names[i]]
		ino, mode := n.attr.Ino, n.attr.Mode
		if k != nil {
			ino, mode = k.attr.Ino, k.attr.Mode
		}
		typ := mode & syscall.S_IFMT >> 12
		if !plus {
			if !sink.Add(names[i], ino, typ, uint64(i+1)) {
				return 0
			}
			continue
		}
		room := sink.Room(names[i])
		if !room && !t.sloppy {
			return 0
		}
		e = union.Entry{}
		if k != nil {
			t.entry(k, &e)
		}
		t.mu.Unlock() // a sink may not call back with the lock held, but a test may
		sink.AddPlus(names[i], &e, ino, typ, uint64(i+1))
		t.mu.Lock()
		if !room {
			return 0
		}
	}
	return 0
}

func (*fakeTree) QuickRename(node.ID, string) bool { return false }

// The fake gives no file to the kernel.
func (*fakeTree) Passthrough(union.Backing) {}

func (*fakeTree) Open(node.ID, uint32, *union.Caller, *union.Opened) syscall.Errno {
	return syscall.ENOSYS
}

func (*fakeTree) OpenNew(*union.Entry, uint32, *union.Opened) syscall.Errno { return syscall.ENOSYS }
func (*fakeTree) Release(node.ID, uint64)                                   {}
func (*fakeTree) Follow(id node.ID) node.ID                                 { return id }
