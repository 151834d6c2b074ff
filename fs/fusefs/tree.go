package fusefs

import (
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/union"
)

// Tree is what a Server serves: the methods of union.FS that a request can
// reach. All are called from several goroutines at once. Names and values may
// lie in a request buffer: they are valid during the call only.
type Tree interface {
	Lookup(parent node.ID, name string, e *union.Entry) syscall.Errno
	Forget(id node.ID, n uint64)

	GetAttr(id node.ID, a *union.Attr) syscall.Errno
	Statx(id node.ID, a *union.Attr) syscall.Errno
	SetAttr(c *union.Caller, id node.ID, ch *union.AttrChange, a *union.Attr) syscall.Errno
	Readlink(id node.ID) (string, syscall.Errno)
	Statfs(st *union.Statfs) syscall.Errno

	Mkdir(c *union.Caller, parent node.ID, name string, mode uint32, e *union.Entry) syscall.Errno
	Mknod(c *union.Caller, parent node.ID, name string, mode, rdev uint32, e *union.Entry) syscall.Errno
	Symlink(c *union.Caller, parent node.ID, name, target string, e *union.Entry) syscall.Errno
	Create(c *union.Caller, parent node.ID, name string, mode, flags uint32, e *union.Entry) syscall.Errno
	Tmpfile(c *union.Caller, parent node.ID, mode, flags uint32, e *union.Entry) syscall.Errno
	Link(id, parent node.ID, name string, e *union.Entry) syscall.Errno
	Unlink(parent node.ID, name string) syscall.Errno
	Rmdir(parent node.ID, name string) syscall.Errno
	// QuickRename is true when a RENAME of the name would copy nothing up.
	QuickRename(parent node.ID, name string) bool
	Rename(oldParent node.ID, oldName string, newParent node.ID, newName string, flags uint32) syscall.Errno

	// Passthrough says before the first request that files are opened
	// with a message: then Open, OpenNew and Release are called.
	Passthrough(b union.Backing)
	Open(id node.ID, flags uint32, killFor *union.Caller, o *union.Opened) syscall.Errno
	OpenNew(e *union.Entry, flags uint32, o *union.Opened) syscall.Errno
	Release(id node.ID, handle uint64)
	// Follow is the node that answers for this one.
	Follow(id node.ID) node.ID

	ReadDir(id node.ID, off uint64, plus bool, sink union.DirSink) syscall.Errno

	Read(id node.ID, p []byte, off int64) (int, syscall.Errno)
	Write(id node.ID, p []byte, off int64, killFor *union.Caller) (int, syscall.Errno)
	// Upper is true when a WRITE would copy nothing up: then it is
	// served by the reader itself.
	Upper(id node.ID) bool
	Fsync(id node.ID, datasync bool) syscall.Errno
	FsyncDir(id node.ID, datasync bool) syscall.Errno
	KillSuidgid(id node.ID) syscall.Errno
	Fallocate(id node.ID, mode uint32, off, length int64) syscall.Errno
	Lseek(id node.ID, off int64, whence int) (int64, syscall.Errno)
	CopyFileRange(in node.ID, offIn int64, out node.ID, offOut int64, n int) (int, syscall.Errno)

	GetXattr(id node.ID, name string, p []byte) (int, syscall.Errno)
	SetXattr(id node.ID, name string, value []byte, flags int) syscall.Errno
	ListXattr(id node.ID, p []byte) (int, syscall.Errno)
	RemoveXattr(id node.ID, name string) syscall.Errno

	GetFlags(id node.ID) (uint32, syscall.Errno)
	SetFlags(id node.ID, flags uint32) syscall.Errno

	// Name is the path of a node as the mount shows it, for the trace.
	Name(id node.ID) string
}

var _ Tree = (*union.FS)(nil)
