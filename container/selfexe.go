package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// selfExe is the running binary. In a role it is the sealed copy.
const selfExe = "/proc/self/exe"

// seal forbids every change of a memfd.
func seal(f *os.File, more int) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL|more)
	if err != nil {
		return fmt.Errorf("memfd: seal: %w", err)
	}
	return nil
}

// sealedSelf is a copy of this program in memory that nobody can change. Init
// runs from it: a payload that opens /proc/1/exe for writing in the moment
// before it starts would otherwise get at the program on the host
// (CVE-2019-5736).
var sealedSelf = sync.OnceValues(func() (*os.File, error) {
	from, err := os.Open(selfExe)
	if err != nil {
		return nil, fmt.Errorf("cannot read this program: %w", err)
	}
	defer from.Close()
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
