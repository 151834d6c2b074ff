package dialect

import (
	"bytes"
	"strconv"
)

// What only data can hold can't be asked for by a system call where the kernel
// maps no other id: it is said by setting an xattr through the mount, one that
// is never stored. Whoever may write a file may do so; it changes what the
// record of virtual ownership says and nothing else.
const (
	ChownXattr = "user.plyfs.chown" // "UID:GID", -1 leaves one
	MknodXattr = "user.plyfs.mknod" // "MODE:DEV": an octal mode with its type, a number as mknod(2) has it
)

// ParseChown reads the value of ChownXattr.
func ParseChown(v []byte) (uid, gid int64, err error) {
	a, b, ok := bytes.Cut(v, []byte{':'})
	uid, e1 := strconv.ParseInt(string(a), 10, 64)
	gid, e2 := strconv.ParseInt(string(b), 10, 64)
	// int32 printed: ids from 2^31 on are negative, and -1 is none.
	if !ok || e1 != nil || e2 != nil || uid < -1<<31 || gid < -1<<31 || uid > 1<<32-1 || gid > 1<<32-1 {
		return 0, 0, badValue("chown: not UID:GID")
	}
	return uid, gid, nil
}

// ParseMknod reads the value of MknodXattr.
func ParseMknod(v []byte) (mode, dev uint32, err error) {
	a, b, ok := bytes.Cut(v, []byte{':'})
	m, e1 := strconv.ParseUint(string(a), 8, 32)
	d, e2 := strconv.ParseUint(string(b), 10, 32)
	if !ok || e1 != nil || e2 != nil {
		return 0, 0, badValue("mknod: not MODE:DEV")
	}
	return uint32(m), uint32(d), nil
}
