package fusefs

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// The data and attribute half of fakeTree.

func (t *fakeTree) Read(id node.ID, p []byte, off int64) (int, syscall.Errno) {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 || off >= int64(len(n.data)) {
		return 0, e
	}
	return copy(p, n.data[off:]), 0
}

func (t *fakeTree) Write(id node.ID, p []byte, off int64, kill *union.Caller) (int, syscall.Errno) {
	t.step("write")
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return 0, e
	}
	if off > 1<<30 {
		return 0, syscall.EFBIG
	}
	t.killed = kill != nil
	if need := int(off) + len(p); need > len(n.data) {
		n.data = append(n.data, make([]byte, need-len(n.data))...)
	}
	n.upper = true
	return copy(n.data[off:], p), 0
}

func (t *fakeTree) Upper(id node.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	return n == nil || n.upper
}

func (t *fakeTree) Fsync(_ node.ID, datasync bool) syscall.Errno {
	t.step("fsync")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.datasync = datasync
	return 0
}

func (t *fakeTree) FsyncDir(node.ID, bool) syscall.Errno { t.step("fsyncdir"); return 0 }

func (t *fakeTree) KillSuidgid(node.ID) syscall.Errno { return 0 }

func (t *fakeTree) Fallocate(id node.ID, _ uint32, off, length int64) syscall.Errno {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e == 0 && off+length < 1<<20 && off+length > int64(len(n.data)) {
		n.data = append(n.data, make([]byte, off+length-int64(len(n.data)))...)
	}
	return e
}

func (t *fakeTree) Lseek(_ node.ID, off int64, whence int) (int64, syscall.Errno) {
	return off + int64(whence), 0
}

func (t *fakeTree) CopyFileRange(in node.ID, offIn int64, out node.ID, offOut int64, n int) (int, syscall.Errno) {
	p := make([]byte, min(n, 4096))
	k, e := t.Read(in, p, offIn)
	if e != 0 || k == 0 {
		return 0, e
	}
	return t.Write(out, p[:k], offOut, nil)
}

func (t *fakeTree) GetXattr(id node.ID, name string, p []byte) (int, syscall.Errno) {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return 0, e
	}
	v, ok := n.xattr[name]
	if !ok {
		return 0, syscall.ENODATA
	}
	if len(p) > 0 && len(p) < len(v) {
		return 0, syscall.ERANGE
	}
	copy(p, v)
	return len(v), 0
}

func (t *fakeTree) SetXattr(id node.ID, name string, value []byte, _ int) syscall.Errno {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e == 0 {
		n.xattr[string([]byte(name))] = string(value)
	}
	return e
}

func (t *fakeTree) ListXattr(id node.ID, p []byte) (int, syscall.Errno) {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return 0, e
	}
	var all []byte
	for k := range n.xattr {
		all = append(append(all, k...), 0)
	}
	if len(p) > 0 && len(p) < len(all) {
		return 0, syscall.ERANGE
	}
	return max(copy(p, all), len(all)), 0
}

func (t *fakeTree) RemoveXattr(id node.ID, name string) syscall.Errno {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e == 0 {
		delete(n.xattr, name)
	}
	return e
}

func (t *fakeTree) GetFlags(id node.ID) (uint32, syscall.Errno) {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e != 0 {
		return 0, e
	}
	return n.flags, 0
}

func (t *fakeTree) SetFlags(id node.ID, flags uint32) syscall.Errno {
	n, e := t.get(id)
	defer t.mu.Unlock()
	if e == 0 {
		n.flags = flags
	}
	return e
}

func (t *fakeTree) Name(id node.ID) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[id]; n != nil {
		return n.path
	}
	return "?"
}
