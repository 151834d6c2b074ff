package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handle is the file handle of (dirfd, name) itself, as name_to_handle_at(2)
// gives it to anybody; opening one needs rights that we never ask for.
func Handle(dirfd int, name string) (typ int32, fid []byte, e syscall.Errno) {
	flags := 0
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	h, _, err := unix.NameToHandleAt(dirfd, name, flags)
	if err != nil {
		return 0, nil, errno(err)
	}
	return h.Type(), h.Bytes(), 0
}

// fsUUID is struct fsuuid2 of FS_IOC_GETFSUUID (Linux 6.9).
type fsUUID struct {
	len  uint8
	uuid [16]byte
}

const fsIocGetfsuuid = 0x80111500

// FSUUID is the UUID of the file system that fd lives on; zero where the
// kernel or the file system has none.
func FSUUID(fd int) (uuid [16]byte) {
	var u fsUUID
	_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocGetfsuuid, uintptr(unsafe.Pointer(&u)))
	if e == 0 && u.len == 16 {
		return u.uuid
	}
	return uuid
}

// btrfsIocFsInfo reads struct btrfs_ioctl_fs_info_args, 1024 bytes with the
// file system's id after two counters.
const btrfsIocFsInfo = 0x8400941f

// BtrfsUUID is what FSUUID is not on btrfs; zero on any other file system.
func BtrfsUUID(fd int) (uuid [16]byte) {
	var args [1024]byte
	_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), btrfsIocFsInfo, uintptr(unsafe.Pointer(&args)))
	if e == 0 {
		copy(uuid[:], args[16:])
	}
	return uuid
}
