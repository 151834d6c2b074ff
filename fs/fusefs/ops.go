package fusefs

import (
	"syscall"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// The opcodes of the protocol (include/uapi/linux/fuse.h).
const (
	opLookup        = 1
	opForget        = 2
	opGetattr       = 3
	opSetattr       = 4
	opReadlink      = 5
	opSymlink       = 6
	opMknod         = 8
	opMkdir         = 9
	opUnlink        = 10
	opRmdir         = 11
	opRename        = 12
	opLink          = 13
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opStatfs        = 17
	opRelease       = 18
	opFsync         = 20
	opSetxattr      = 21
	opGetxattr      = 22
	opListxattr     = 23
	opRemovexattr   = 24
	opFlush         = 25
	opInit          = 26
	opOpendir       = 27
	opReaddir       = 28
	opReleasedir    = 29
	opFsyncdir      = 30
	opAccess        = 34
	opCreate        = 35
	opInterrupt     = 36
	opBmap          = 37
	opDestroy       = 38
	opIoctl         = 39
	opPoll          = 40
	opNotifyReply   = 41
	opBatchForget   = 42
	opFallocate     = 43
	opReaddirplus   = 44
	opRename2       = 45
	opLseek         = 46
	opCopyFileRange = 47
	opSyncfs        = 50
	opTmpfile       = 51
	opStatx         = 52
	opCopyRange64   = 53

	opCount = 64 // larger than any opcode that we know
)

const (
	inHeaderSize    = int(unsafe.Sizeof(fuse.InHeader{}))
	outHeaderSize   = int(unsafe.Sizeof(fuse.OutHeader{}))
	writeHeaderSize = int(unsafe.Sizeof(fuse.WriteIn{}))

	// maxData is the largest READ, WRITE or directory listing.
	maxData = 1 << 20
)

// op is how one opcode is decoded and served.
type op struct {
	name  string
	fixed int // bytes of the struct behind the header
	names int // NUL-terminated strings behind the struct
	// component: the names are directory entries, not xattr names.
	component bool
	// silent: the kernel waits for no reply and accepts none.
	silent bool
	// slow says whether this request may take long and must leave the
	// reader; nil = never.
	slow func(w *worker) bool
	// run serves the request: it fills w.payload() and says how many
	// bytes of it are the reply.
	run func(w *worker) (int, syscall.Errno)
}

// fixed is the size of T, a struct that starts with the header, behind
// that header.
func fixed[T any]() int {
	var t T
	return int(unsafe.Sizeof(t)) - inHeaderSize
}

// ops has an entry for every opcode below opCount, so that nobody indexes nil.
var ops [opCount]op

func init() {
	for i := range ops {
		ops[i] = op{name: "UNKNOWN", run: (*worker).enosys}
	}
	def := func(code int, o op) {
		if o.run == nil {
			o.run = (*worker).enosys
		}
		ops[code] = o
	}

	// Names and attributes.
	def(opLookup, op{name: "LOOKUP", names: 1, component: true, run: (*worker).lookup})
	def(opForget, op{name: "FORGET", fixed: fixed[fuse.ForgetIn](), silent: true, run: (*worker).forget})
	def(opBatchForget, op{name: "BATCH_FORGET", fixed: 8, silent: true, run: (*worker).batchForget})
	def(opGetattr, op{name: "GETATTR", fixed: fixed[fuse.GetAttrIn](), run: (*worker).getattr})
	def(opStatx, op{name: "STATX", fixed: fixed[fuse.StatxIn](), run: (*worker).statx})
	def(opSetattr, op{name: "SETATTR", fixed: fixed[fuse.SetAttrIn](), slow: setattrSlow, run: (*worker).setattr})
	def(opCreate, op{name: "CREATE", fixed: fixed[fuse.CreateIn](), names: 1, component: true, run: (*worker).create})
	def(opTmpfile, op{name: "TMPFILE", fixed: fixed[fuse.CreateIn](), names: 1, run: (*worker).tmpfile})
	def(opMkdir, op{name: "MKDIR", fixed: fixed[fuse.MkdirIn](), names: 1, component: true, run: (*worker).mkdir})
	def(opMknod, op{name: "MKNOD", fixed: fixed[fuse.MknodIn](), names: 1, component: true, run: (*worker).mknod})
	def(opSymlink, op{name: "SYMLINK", names: 2, component: true, run: (*worker).symlink})
	def(opLink, op{name: "LINK", fixed: fixed[fuse.LinkIn](), names: 1, component: true, slow: linkSlow, run: (*worker).link})
	def(opUnlink, op{name: "UNLINK", names: 1, component: true, run: (*worker).unlink})
	def(opRmdir, op{name: "RMDIR", names: 1, component: true, run: (*worker).rmdir})
	def(opRename, op{name: "RENAME", fixed: 8, names: 2, component: true, slow: renameSlow, run: (*worker).rename})
	def(opRename2, op{name: "RENAME2", fixed: fixed[fuse.RenameIn](), names: 2, component: true, slow: renameSlow, run: (*worker).rename})
	def(opReaddir, op{name: "READDIR", fixed: fixed[fuse.ReadIn](), run: (*worker).readdir})
	def(opReaddirplus, op{name: "READDIRPLUS", fixed: fixed[fuse.ReadIn](), run: (*worker).readdir})

	// Data and extended attributes.
	def(opRead, op{name: "READ", fixed: fixed[fuse.ReadIn](), run: (*worker).read})
	def(opWrite, op{name: "WRITE", fixed: fixed[fuse.WriteIn](), slow: notUpper, run: (*worker).write})
	def(opGetxattr, op{name: "GETXATTR", fixed: fixed[fuse.GetXAttrIn](), names: 1, run: (*worker).getxattr})
	def(opIoctl, op{name: "IOCTL", fixed: fixed[fuse.IoctlIn](), slow: ioctlSlow, run: (*worker).ioctl})

	// Rare. SETXATTR is checked with the size of the shorter, older struct.
	def(opReadlink, op{name: "READLINK", run: (*worker).readlink})
	def(opStatfs, op{name: "STATFS", run: (*worker).statfs})
	def(opSetxattr, op{name: "SETXATTR", fixed: 8, slow: notUpper, run: (*worker).setxattr})
	def(opListxattr, op{name: "LISTXATTR", fixed: fixed[fuse.GetXAttrIn](), run: (*worker).listxattr})
	def(opRemovexattr, op{name: "REMOVEXATTR", names: 1, slow: notUpper, run: (*worker).removexattr})
	def(opFsync, op{name: "FSYNC", fixed: fixed[fuse.FsyncIn](), slow: fsyncSlow, run: (*worker).fsync})
	def(opFsyncdir, op{name: "FSYNCDIR", fixed: fixed[fuse.FsyncIn](), slow: fsyncSlow, run: (*worker).fsync})
	def(opFallocate, op{name: "FALLOCATE", fixed: fixed[fuse.FallocateIn](), slow: always, run: (*worker).fallocate})
	def(opLseek, op{name: "LSEEK", fixed: fixed[fuse.LseekIn](), run: (*worker).lseek})
	def(opCopyFileRange, op{name: "COPY_FILE_RANGE", fixed: fixed[fuse.CopyFileRangeIn](), slow: always, run: (*worker).copyFileRange})

	// The connection, and what is answered without asking the tree.
	def(opInit, op{name: "INIT", fixed: 16, run: (*worker).init})
	def(opOpen, op{name: "OPEN", fixed: fixed[fuse.OpenIn](), slow: openSlow, run: (*worker).open})
	def(opOpendir, op{name: "OPENDIR", fixed: fixed[fuse.OpenIn](), run: (*worker).open})
	def(opRelease, op{name: "RELEASE", fixed: 8, run: (*worker).release})
	def(opReleasedir, op{name: "RELEASEDIR", run: (*worker).done})
	def(opDestroy, op{name: "DESTROY", run: (*worker).done})
	def(opInterrupt, op{name: "INTERRUPT", silent: true, run: (*worker).done})
	def(opNotifyReply, op{name: "NOTIFY_REPLY", silent: true, run: (*worker).done})
	def(opFlush, op{name: "FLUSH"})
	def(opAccess, op{name: "ACCESS"})
	def(opBmap, op{name: "BMAP"})
	def(opPoll, op{name: "POLL"})
	def(opSyncfs, op{name: "SYNCFS"})
	def(opCopyRange64, op{name: "COPY_FILE_RANGE_64"}) // the kernel goes on with COPY_FILE_RANGE
}

// enosys tells the kernel never to ask this again.
func (*worker) enosys() (int, syscall.Errno) { return 0, syscall.ENOSYS }

// done answers with success and nothing else: a directory has no handle that was
// to be released, and an INTERRUPT comes too late for every request that is short.
func (*worker) done() (int, syscall.Errno) { return 0, 0 }
