package fusefs

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

func (w *worker) create() (int, syscall.Errno) {
	in := as[fuse.CreateIn](w)
	w.entry = union.Entry{}
	return w.replyCreated(in.Flags, w.s.tree.Create(w.who(in.Umask), w.node(), w.name, in.Mode, in.Flags, &w.entry))
}

// tmpfile is CREATE without a name: the one that the kernel sends is that of an
// anonymous dentry and means nothing.
func (w *worker) tmpfile() (int, syscall.Errno) {
	in := as[fuse.CreateIn](w)
	w.entry = union.Entry{}
	return w.replyCreated(in.Flags, w.s.tree.Tmpfile(w.who(in.Umask), w.node(), in.Mode, in.Flags, &w.entry))
}

// replyCreated answers with the new node and an open file. Where files are
// opened without a message the handle is 0, and the cache is kept: after the
// first OPEN answered ENOSYS no RELEASE would ever free a handle.
func (w *worker) replyCreated(flags uint32, e syscall.Errno) (int, syscall.Errno) {
	if e == 0 {
		e = w.openCreated(flags)
	}
	if e != 0 {
		return 0, e
	}
	w.counted = w.entry.Node
	o, n := reply[fuse.CreateOut](w)
	w.set.putEntry(&o.EntryOut, &w.entry)
	w.putOpened(&o.OpenOut)
	return n, 0
}

func (w *worker) mkdir() (int, syscall.Errno) {
	in := as[fuse.MkdirIn](w)
	w.entry = union.Entry{}
	return w.replyEntry(w.s.tree.Mkdir(w.who(in.Umask), w.node(), w.name, in.Mode, &w.entry))
}

func (w *worker) mknod() (int, syscall.Errno) {
	in := as[fuse.MknodIn](w)
	w.entry = union.Entry{}
	return w.replyEntry(w.s.tree.Mknod(w.who(in.Umask), w.node(), w.name, in.Mode, in.Rdev, &w.entry))
}

func (w *worker) symlink() (int, syscall.Errno) {
	w.entry = union.Entry{}
	return w.replyEntry(w.s.tree.Symlink(w.who(0), w.node(), w.name, w.name2, &w.entry))
}

// linkSlow: a lower file is copied up before it gets a second name.
func linkSlow(w *worker) bool {
	return !w.s.tree.Upper(node.ID(as[fuse.LinkIn](w).Oldnodeid))
}

func (w *worker) link() (int, syscall.Errno) {
	w.entry = union.Entry{}
	return w.replyEntry(w.s.tree.Link(node.ID(as[fuse.LinkIn](w).Oldnodeid), w.node(), w.name, &w.entry))
}

func (w *worker) unlink() (int, syscall.Errno) {
	return 0, w.s.tree.Unlink(w.node(), w.name)
}

func (w *worker) rmdir() (int, syscall.Errno) {
	return 0, w.s.tree.Rmdir(w.node(), w.name)
}

// rename serves RENAME, whose struct is the new parent only, and RENAME2.
func (w *worker) rename() (int, syscall.Errno) {
	in := at[struct {
		newdir uint64
	}](w.in[inHeaderSize:])
	var flags uint32
	if w.op == &ops[opRename2] {
		flags = as[fuse.RenameIn](w).Flags
	}
	return 0, w.s.tree.Rename(w.node(), w.name, node.ID(in.newdir), w.name2, flags)
}

// open serves OPEN and OPENDIR. ENOSYS makes the kernel open everything by
// itself from then on; kernels that don't know that get the same meaning in an
// ordinary answer.
func (w *worker) open() (int, syscall.Errno) {
	dir := w.op == &ops[opOpendir]
	if dir && w.set.session.NoOpendir || !dir && w.set.session.NoOpen {
		return 0, syscall.ENOSYS
	}
	if !dir && w.set.passes {
		return w.openFile()
	}
	o, n := reply[fuse.OpenOut](w)
	o.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if dir {
		o.OpenFlags |= fuse.FOPEN_CACHE_DIR
	}
	return n, 0
}
