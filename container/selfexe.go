package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// selfExe is the running binary. In a role it is what safeSelf gave.
const selfExe = "/proc/self/exe"

// seal forbids every change of a memfd.
func seal(f *os.File, more int) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL|more)
	if err != nil {
		return fmt.Errorf("memfd: seal: %w", err)
	}
	return nil
}

// safeSelf is this program for init and for what is executed into a container:
// a payload that opens /proc/1/exe for writing in the moment before it starts
// must not get at the program on the host (CVE-2019-5736). Where the kernel
// itself keeps the container's ids from writing to the file, that is the file; a
// copy costs more than everything else at a start.
func safeSelf(ids idMaps) (*os.File, error) {
	f, err := openSelf()
	if err != nil {
		return nil, fmt.Errorf("cannot read this program: %w", err)
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(int(f.Fd()), &st) == nil && unix.Fstatfs(int(f.Fd()), &fs) == nil && slices.Contains(judging, int64(fs.Type)) && foreign(&st, ids) {
		return f, nil
	}
	return sealedSelf()
}

var openSelf = sync.OnceValues(func() (*os.File, error) { return os.Open(selfExe) })

// judging are filesystems where the kernel decides by owner and mode. Elsewhere a
// server does, and may think otherwise.
var judging = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC,
	unix.OVERLAYFS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1,
}

// foreign says that a process of a user namespace with these ids can execute a
// file, and neither write to it nor change its mode, whatever its capabilities are there: they count
// only for files whose owner and group it maps. An access list gives nobody more
// than the group's bits of the mode.
func foreign(st *unix.Stat_t, ids idMaps) bool {
	mapped := slices.ContainsFunc(ids.UID, func(l idMap) bool {
		return int(st.Uid) >= l.Outside && int(st.Uid)-l.Outside < l.Size
	})
	return !ids.none() && !mapped && st.Mode&0o022 == 0 && st.Mode&0o001 != 0
}

// sealedSelf is a copy of this program in memory that nobody can change.
var sealedSelf = sync.OnceValues(func() (*os.File, error) {
	from, err := openSelf()
	if err != nil {
		return nil, fmt.Errorf("cannot read this program: %w", err)
	}
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("plyfs", flags|unix.MFD_EXEC)
	execSeal := unix.F_SEAL_EXEC
	if errors.Is(err, unix.EINVAL) { // before 6.3
		fd, err = unix.MemfdCreate("plyfs", flags)
		execSeal = 0
	}
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	to := os.NewFile(uintptr(fd), "plyfs")
	info, err := from.Stat()
	if err == nil {
		err = sendAll(to, from, info.Size())
	}
	if err == nil {
		err = seal(to, execSeal)
	}
	if err != nil {
		to.Close()
		return nil, fmt.Errorf("cannot copy this program into memory: %w", err)
	}
	return to, nil
})

func sendAll(to, from *os.File, size int64) error {
	for size > 0 {
		n, err := unix.Sendfile(int(to.Fd()), int(from.Fd()), nil, int(min(size, 1<<30)))
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			_, err = io.Copy(to, from)
			return err
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		size -= int64(n)
	}
	return nil
}
