package fuse

// Flags of SETATTR's Valid.
const (
	FATTR_MODE         = 1 << 0
	FATTR_UID          = 1 << 1
	FATTR_GID          = 1 << 2
	FATTR_SIZE         = 1 << 3
	FATTR_ATIME        = 1 << 4
	FATTR_MTIME        = 1 << 5
	FATTR_FH           = 1 << 6
	FATTR_ATIME_NOW    = 1 << 7
	FATTR_MTIME_NOW    = 1 << 8
	FATTR_LOCKOWNER    = 1 << 9
	FATTR_CTIME        = 1 << 10
	FATTR_KILL_SUIDGID = 1 << 11
)

// Flags of an answer to OPEN.
const (
	FOPEN_KEEP_CACHE  = 1 << 1
	FOPEN_CACHE_DIR   = 1 << 3
	FOPEN_PASSTHROUGH = 1 << 7
)

// FSYNC_FDATASYNC in FSYNC's flags is fdatasync.
const FSYNC_FDATASYNC = 1

// OPEN_KILL_SUIDGID in OPEN's flags leaves suid and sgid of what is truncated to
// the server.
const OPEN_KILL_SUIDGID = 1 << 0

// WRITE_KILL_SUIDGID in WRITE's flags leaves suid and sgid to the server.
const WRITE_KILL_SUIDGID = 1 << 2

// What INIT offers and its answer accepts. The header calls them FUSE_….
const (
	CAP_ASYNC_READ          = 1 << 0
	CAP_POSIX_LOCKS         = 1 << 1
	CAP_ATOMIC_O_TRUNC      = 1 << 3
	CAP_EXPORT_SUPPORT      = 1 << 4
	CAP_BIG_WRITES          = 1 << 5
	CAP_DONT_MASK           = 1 << 6
	CAP_SPLICE_WRITE        = 1 << 7
	CAP_SPLICE_MOVE         = 1 << 8
	CAP_SPLICE_READ         = 1 << 9
	CAP_FLOCK_LOCKS         = 1 << 10
	CAP_IOCTL_DIR           = 1 << 11
	CAP_AUTO_INVAL_DATA     = 1 << 12
	CAP_READDIRPLUS         = 1 << 13
	CAP_READDIRPLUS_AUTO    = 1 << 14
	CAP_ASYNC_DIO           = 1 << 15
	CAP_WRITEBACK_CACHE     = 1 << 16
	CAP_NO_OPEN_SUPPORT     = 1 << 17
	CAP_PARALLEL_DIROPS     = 1 << 18
	CAP_POSIX_ACL           = 1 << 20
	CAP_MAX_PAGES           = 1 << 22
	CAP_CACHE_SYMLINKS      = 1 << 23
	CAP_NO_OPENDIR_SUPPORT  = 1 << 24
	CAP_EXPLICIT_INVAL_DATA = 1 << 25
	CAP_HANDLE_KILLPRIV_V2  = 1 << 28
	CAP_SETXATTR_EXT        = 1 << 29
	CAP_INIT_EXT            = 1 << 30
	CAP_SECURITY_CTX        = 1 << 32
	CAP_CREATE_SUPP_GROUP   = 1 << 34
	CAP_PASSTHROUGH         = 1 << 37
	CAP_HAS_RESEND          = 1 << 39
	CAP_ALLOW_IDMAP         = 1 << 40
	CAP_OVER_IO_URING       = 1 << 41
	CAP_REQUEST_TIMEOUT     = 1 << 42
)
