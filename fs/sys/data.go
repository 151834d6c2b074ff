package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Pread reads until p is full or the file ends.
func Pread(fd int, p []byte, off int64) (int, syscall.Errno) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			if done > 0 {
				return done, 0
			}
			return 0, errno(err)
		case n == 0:
			return done, 0
		}
		done += n
	}
	return done, 0
}

// Pwrite writes all of p, or says how much was written before the error.
func Pwrite(fd int, p []byte, off int64) (int, syscall.Errno) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(fd, p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, errno(err)
		}
		done += n
	}
	return done, 0
}

// Fsync, like fsync(2).
func Fsync(fd int) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fsync(fd)) })
}

// Fdatasync, like fdatasync(2).
func Fdatasync(fd int) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fdatasync(fd)) })
}

// Truncate, like ftruncate(2).
func Truncate(fd int, size int64) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Ftruncate(fd, size)) })
}

// Fallocate, like fallocate(2).
func Fallocate(fd int, mode uint32, off, length int64) syscall.Errno {
	return retry(func() syscall.Errno { return errno(unix.Fallocate(fd, mode, off, length)) })
}

// Lseek, like lseek(2); only SEEK_DATA and SEEK_HOLE make sense on a
// descriptor that several requests share.
func Lseek(fd int, off int64, whence int) (int64, syscall.Errno) {
	r, err := unix.Seek(fd, off, whence)
	return r, errno(err)
}

// CopyRange, like copy_file_range(2).
func CopyRange(in int, offIn int64, out int, offOut int64, n int) (int, syscall.Errno) {
	for {
		r, err := unix.CopyFileRange(in, &offIn, out, &offOut, n, 0)
		if err != unix.EINTR {
			return r, errno(err)
		}
	}
}

// Clone makes out share all blocks of in (FICLONE).
func Clone(out, in int) syscall.Errno {
	return errno(unix.IoctlFileClone(out, in))
}

// GetFlags reads the inode flags of chattr(1).
func GetFlags(fd int) (uint32, syscall.Errno) {
	v, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	return uint32(v), errno(err)
}

// SetFlags sets the inode flags of chattr(1).
func SetFlags(fd int, flags uint32) syscall.Errno {
	return errno(unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags)))
}

// Getdents, like getdents64(2).
func Getdents(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, err := unix.Getdents(fd, p)
		if err != unix.EINTR {
			return n, errno(err)
		}
	}
}

// Rewind goes back to the start of an open directory.
func Rewind(fd int) syscall.Errno {
	_, err := unix.Seek(fd, 0, 0)
	return errno(err)
}
