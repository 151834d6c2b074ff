package union

import "github.com/plyfs/plyfs/fs/node"

// Caller is who asks: the ids are as the mount shows them (before any id map).
type Caller struct {
	UID, GID uint32
	PID      uint32
	Umask    uint32
}

// Time is a point in time in the form that the kernel uses.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Attr is what stat(2) says of a node. Ids are as the mount shows them.
type Attr struct {
	Ino, Size, Blocks          uint64
	Atime, Mtime, Ctime, Btime Time // Btime is filled by Statx only
	Mode                       uint32
	Nlink, UID, GID            uint32
	Rdev                       uint32 // in the kernel's new_encode_dev form, as FUSE wants it
	Blksize                    uint32
	HasBtime                   bool
	Unsettled                  bool // a client writes without telling: it may be another one by now
	Asked                      bool // a layer was asked for it; else it was in memory
}

// Entry is the answer to a look-up: a node, counted once for the caller, and
// its attributes.
type Entry struct {
	Node node.ID
	Attr Attr
}

// The bits of AttrChange.Valid.
const (
	SetMode = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
	SetAtimeNow
	SetMtimeNow
	SetCtime    // the kernel's own ctime (writeback cache); never applied, only tells who asks
	KillSuidgid // clear suid, and sgid of group-executable files (FATTR_KILL_SUIDGID)
)

// AttrChange is what SetAttr changes.
type AttrChange struct {
	Valid        uint32
	Mode         uint32
	UID, GID     uint32
	Size         uint64
	Atime, Mtime Time
}

// DirSink takes directory entries from ReadDir. Add and AddPlus answer false
// when the entry did not fit: it is not counted and will be offered again.
type DirSink interface {
	// Add takes a name, its inode number, type (DT_*) and the offset to go
	// on from after it.
	Add(name string, ino uint64, typ uint32, next uint64) bool
	// Room says whether an entry with this name would fit AddPlus. It is
	// asked before the look-up is made and counted.
	Room(name string) bool
	// AddPlus is Add with the entry looked up. A zero e.Node means that
	// the kernel is to look the name up itself.
	AddPlus(name string, e *Entry, ino uint64, typ uint32, next uint64)
}

// Statfs is what statfs(2) says of the upper layer (the top lower layer
// when there is none).
type Statfs struct {
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Bsize, Frsize         uint32
	Namelen               uint32
}
