package fuse

// InHeader begins every request.
type InHeader struct {
	Length        uint32
	Opcode        uint32
	Unique        uint64
	NodeId        uint64
	Uid, Gid, Pid uint32
	TotalExtlen   uint16 // in units of 8 bytes
	Padding       uint16
}

// OutHeader begins every reply.
type OutHeader struct {
	Length uint32
	Status int32 // 0, or an errno with a minus
	Unique uint64
}

// Attr is struct fuse_attr.
type Attr struct {
	Ino, Size, Blocks               uint64
	Atime, Mtime, Ctime             uint64
	Atimensec, Mtimensec, Ctimensec uint32
	Mode, Nlink, Uid, Gid           uint32
	Rdev, Blksize, Flags            uint32
}

// EntryOut answers what makes or finds a name.
type EntryOut struct {
	NodeId, Generation            uint64
	EntryValid, AttrValid         uint64
	EntryValidNsec, AttrValidNsec uint32
	Attr
}

// AttrOut answers GETATTR and SETATTR.
type AttrOut struct {
	AttrValid            uint64
	AttrValidNsec, Dummy uint32
	Attr
}

// OpenOut answers OPEN and OPENDIR.
type OpenOut struct {
	Fh        uint64
	OpenFlags uint32
	BackingID int32
}

// CreateOut answers CREATE.
type CreateOut struct {
	EntryOut
	OpenOut
}

// The requests of names and attributes.
type (
	ForgetIn struct {
		InHeader
		Nlookup uint64
	}
	GetAttrIn struct {
		InHeader
		Flags, Dummy uint32
		Fh           uint64
	}
	SetAttrIn struct {
		InHeader
		Valid, Padding                  uint32
		Fh, Size, LockOwner             uint64
		Atime, Mtime, Ctime             uint64
		Atimensec, Mtimensec, Ctimensec uint32
		Mode, Unused4, Uid, Gid         uint32
		Unused5                         uint32
	}
	StatxIn struct {
		InHeader
		GetattrFlags, Reserved uint32
		Fh                     uint64
		SxFlags, SxMask        uint32
	}
	MknodIn struct {
		InHeader
		Mode, Rdev, Umask, Padding uint32
	}
	MkdirIn struct {
		InHeader
		Mode, Umask uint32
	}
	LinkIn struct {
		InHeader
		Oldnodeid uint64
	}
	RenameIn struct { // RENAME2; RENAME ends after Newdir
		InHeader
		Newdir         uint64
		Flags, Padding uint32
	}
	CreateIn struct {
		InHeader
		Flags, Mode, Umask, OpenFlags uint32
	}
	OpenIn struct {
		InHeader
		Flags, Mode uint32
	}
)

// SxTime is struct fuse_sx_time.
type SxTime struct {
	Sec            uint64
	Nsec, Reserved uint32
}

// StatxOut answers STATX.
type StatxOut struct {
	AttrValid            uint64
	AttrValidNsec, Flags uint32
	Spare                [2]uint64

	Mask, Blksize              uint32
	Attributes                 uint64
	Nlink, Uid, Gid            uint32
	Mode, Spare0               uint16
	Ino, Size, Blocks          uint64
	AttributesMask             uint64
	Atime, Btime, Ctime, Mtime SxTime
	RdevMajor, RdevMinor       uint32
	DevMajor, DevMinor         uint32
	Spare2                     [14]uint64
}

// The requests of data, and answers to them.
type (
	ReadIn struct { // READDIR and READDIRPLUS, too
		InHeader
		Fh, Offset      uint64
		Size, ReadFlags uint32
		LockOwner       uint64
		Flags, Padding  uint32
	}
	WriteIn struct {
		InHeader
		Fh, Offset       uint64
		Size, WriteFlags uint32
		LockOwner        uint64
		Flags, Padding   uint32
	}
	WriteOut struct{ Size, Padding uint32 }
	FsyncIn  struct {
		InHeader
		Fh                  uint64
		FsyncFlags, Padding uint32
	}
	FallocateIn struct {
		InHeader
		Fh, Offset, Length uint64
		Mode, Padding      uint32
	}
	LseekIn struct {
		InHeader
		Fh, Offset      uint64
		Whence, Padding uint32
	}
	LseekOut        struct{ Offset uint64 }
	CopyFileRangeIn struct {
		InHeader
		FhIn, OffIn              uint64
		NodeIdOut, FhOut, OffOut uint64
		Len, Flags               uint64
	}
	IoctlIn struct {
		InHeader
		Fh              uint64
		Flags, Cmd      uint32
		Arg             uint64
		InSize, OutSize uint32
	}
	IoctlOut struct {
		Result                 int32
		Flags, InIovs, OutIovs uint32
	}
)

// Extended attributes, and statfs.
type (
	GetXAttrIn struct { // LISTXATTR, too
		InHeader
		Size, Padding uint32
	}
	GetXAttrOut struct{ Size, Padding uint32 }
	SetXAttrIn  struct { // without CAP_SETXATTR_EXT it ends after Flags
		InHeader
		Size, Flags           uint32
		SetxattrFlags, Unused uint32
	}
	StatfsOut struct {
		Blocks, Bfree, Bavail, Files, Ffree uint64
		Bsize, NameLen, Frsize, Padding     uint32
		Spare                               [6]uint32
	}
)

// InitIn is INIT; kernels before 5.17 end it after Flags.
type InitIn struct {
	InHeader
	Major, Minor, MaxReadAhead, Flags, Flags2 uint32
	Unused                                    [11]uint32
}

// InitOut answers it.
type InitOut struct {
	Major, Minor, MaxReadAhead, Flags  uint32
	MaxBackground, CongestionThreshold uint16
	MaxWrite, TimeGran                 uint32
	MaxPages, MapAlignment             uint16
	Flags2, MaxStackDepth              uint32
	RequestTimeout                     uint16
	Unused                             [11]uint16
}

// Flags64 are all flags; those of the second word count with CAP_INIT_EXT.
func (in *InitIn) Flags64() uint64 { return uint64(in.Flags2)<<32 | uint64(in.Flags) }

// Flags64 are all flags.
func (out *InitOut) Flags64() uint64 { return uint64(out.Flags2)<<32 | uint64(out.Flags) }

// BackingMap is what FUSE_DEV_IOC_BACKING_OPEN takes.
type BackingMap struct {
	Fd      int32
	Flags   uint32
	Padding uint64
}
