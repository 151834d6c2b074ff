package union

import (
	"sync/atomic"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// Where files are opened with a message, the kernel can be given the layer's own
// file to read, write and map: no message after that, and one page cache for all
// mounts of a layer. It has a price: all open files of a node must be of the same
// file of the layers. So a node whose lower file the kernel was given can't have a
// writer of the copied-up one: its name gets a new node, the OPEN is answered
// ESTALE, and the kernel looks the name up again. Readers from before stay with
// the old node and its bytes; whatever else they ask, the new node answers
// ([FS.Follow]).
//
// The kernel opens the file that it is given once more, with the flags of its
// client and our rights. A lower file that could be written by that way is never
// given away: only one on a read-only mount is (layer.Stack.Detach).
//
// What the record of a node keeps of it (node.Opens) survives the server.

// Backing gives files to the kernel. It is called with a lock of the union held.
type Backing interface {
	// Register gives the file behind a descriptor, which may be closed
	// afterwards. A write by whomever to the file takes setuid from it,
	// whatever the rights of the server.
	Register(fd int) (int32, syscall.Errno)
	Unregister(id int32)
}

// passing is what is known of giving files away.
type passing struct {
	refused atomic.Bool // the kernel gives this server no such right
}

// passMin is the size from which on a lower file is given away: an open and the
// messages that go with it cost more than a read of less, and small files are
// those that programs lock: readers and writers of a file that was given away
// don't meet in flock(2) after a copy-up.
const passMin = 64 << 10

// Handles of open files: what is to be undone at their end.
const (
	handleCached = 1 << iota
	handlePassed
	handleWrite
)

// Opened is the answer to an open.
type Opened struct {
	Handle  uint64
	Backing int32 // with Passed
	Passed  bool  // the kernel has the file itself
	Keep    bool  // what it has cached of the file is still good
	Unsaid  bool  // from now on the file changes without a message; what was said of its attributes is void
}

// Passthrough says that files are opened with a message and that b takes them. It
// is called before the first request.
func (fs *FS) Passthrough(b Backing) {
	fs.backing = b
	for i := range fs.layers {
		l := &fs.layers[i]
		var st unix.Statfs_t
		l.sealed = i > 0 && sys.Statfs(l.fd, &st) == 0 && st.Flags&unix.ST_RDONLY != 0
	}
}

// Follow is the node that answers for this one.
func (fs *FS) Follow(id node.ID) node.ID {
	if r := fs.t.Get(id); r != nil && r.Has(node.Moved) {
		return node.ID(r.Key)
	}
	return id
}

// Open opens a regular file; killFor is who truncates it when that takes setuid
// away. ESTALE means that the name leads to another node by now.
func (fs *FS) Open(id node.ID, flags uint32, killFor *Caller, o *Opened) syscall.Errno {
	r := fs.t.Get(id)
	if r == nil || r.Has(node.Moved) {
		return unix.ESTALE
	}
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	switch {
	case flags&unix.O_TRUNC != 0:
		ch := AttrChange{Valid: SetSize | SetMtimeNow}
		if killFor != nil {
			ch.Valid |= KillSuidgid
		}
		var a Attr
		if e := fs.SetAttr(killFor, id, &ch, &a); e != 0 {
			return e
		}
	case write:
		if e := fs.copyUp(id, wholeFile, false); e != 0 {
			return e
		}
	}
	for {
		fd, n, e := fs.fileToPass(id, r)
		if e != 0 {
			return e
		}
		l := fs.loc(id.Index())
		l.Lock()
		again := fs.dataLayer(r) != n
		if !again {
			e = fs.openLocked(id, r, n, fd, write, o)
		}
		l.Unlock()
		fd.release()
		if !again && e != unix.EAGAIN {
			return e
		}
	}
}

// dataLayer is the layer that has the node's data.
func (fs *FS) dataLayer(r *node.Rec) uint16 {
	if r.Has(node.Meta) {
		return r.Data
	}
	return r.Layer
}

// fileToPass is the file that a new open file would be of, and its layer; no
// descriptor where other open files have decided.
func (fs *FS) fileToPass(id node.ID, r *node.Rec) (pinned, uint16, syscall.Errno) {
	l := fs.loc(id.Index())
	l.RLock()
	n, open := fs.dataLayer(r), r.Opens().Count > 0
	l.RUnlock()
	if open {
		return pinned{fd: -1}, n, 0
	}
	fd, e := fs.fileFD(id, false)
	return fd, n, e
}

// openLocked counts an open file of the node's data in layer n. Precondition: the
// node's loc is held for writing.
func (fs *FS) openLocked(id node.ID, r *node.Rec, n uint16, fd pinned, write bool, o *Opened) syscall.Errno {
	if r.Has(node.Moved) {
		return unix.ESTALE
	}
	have := r.Opens()
	switch {
	case have.Count > 0 && !r.Has(node.Passed):
		*o = Opened{Keep: true}
	case have.Count > 0 && r.Has(node.PassedUp) != (n == 0):
		return fs.replace(id, r)
	case have.Count > 0:
		*o = Opened{Passed: true, Backing: have.Backing}
	case fd.fd < 0:
		return unix.EAGAIN // the last file was closed a moment ago
	default:
		fs.firstOpen(r, n, fd.fd, o)
		have.Backing = o.Backing
	}
	o.Handle = handleCached
	if o.Passed {
		o.Handle = handlePassed
	}
	have.Count++
	if write && o.Passed {
		o.Handle |= handleWrite
		o.Unsaid = have.Writers == 0
		have.Writers++
	}
	r.SetOpens(have)
	return 0
}

// replace gives the name of a node to a new one. Precondition: the node's loc is
// held for writing.
func (fs *FS) replace(id node.ID, r *node.Rec) syscall.Errno {
	if r.Has(node.Dead) {
		return unix.ETXTBSY // no name leads here: nobody could find the new one
	}
	if _, _, err := fs.t.Replace(id.Index()); err != nil {
		return unix.ENOMEM
	}
	return unix.ESTALE
}

// firstOpen decides how a node's files are open until the last of them is closed.
func (fs *FS) firstOpen(r *node.Rec, n uint16, fd int, o *Opened) {
	*o = Opened{Keep: n > 0 || !fs.passesUpper()}
	if !fs.passes(n, fd) {
		return
	}
	back, e := fs.backing.Register(fd)
	switch e {
	case 0:
	case unix.EPERM, unix.ENOTTY, unix.EOPNOTSUPP:
		fs.passing.refused.Store(true)
		return
	default:
		return // not this file: its layer lies on another stacked file system
	}
	*o = Opened{Passed: true, Backing: back}
	r.Set(node.Passed)
	if n == 0 {
		r.Set(node.PassedUp)
	}
}

// passesUpper says whether files of the upper layer are given away: not where
// what they take is counted.
func (fs *FS) passesUpper() bool { return !fs.quota.active() }

// passes says whether a file is to be given away.
func (fs *FS) passes(n uint16, fd int) bool {
	if fs.passing.refused.Load() || n == 0 && !fs.passesUpper() || n > 0 && !fs.layers[n].sealed {
		return false
	}
	var st sys.Stat
	if sys.StatFD(fd, &st) != 0 {
		return false
	}
	if n == 0 {
		// Who writes is known with a message only: it decides over setuid. Whoever
		// reads comes first, maybe: all have an inode open in one way.
		return st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0
	}
	return st.Size >= passMin
}

// Release ends an open file.
func (fs *FS) Release(id node.ID, handle uint64) {
	r := fs.t.Get(id)
	if r == nil || handle == 0 {
		return
	}
	l := fs.loc(id.Index())
	l.Lock()
	defer l.Unlock()
	have := r.Opens()
	have.Count -= min(have.Count, 1)
	if handle&handleWrite != 0 {
		have.Writers -= min(have.Writers, 1)
	}
	if have.Count == 0 {
		if r.Has(node.Passed) {
			fs.backing.Unregister(have.Backing)
		}
		have = node.Opens{}
		r.Clear(node.Passed | node.PassedUp)
	}
	r.SetOpens(have)
}

// OpenNew opens what Create and Tmpfile made.
func (fs *FS) OpenNew(e *Entry, flags uint32, o *Opened) syscall.Errno {
	errno := fs.Open(e.Node, flags&^unix.O_TRUNC, nil, o)
	e.Attr.Unsettled = o.Unsaid
	o.Unsaid = false
	return errno
}
