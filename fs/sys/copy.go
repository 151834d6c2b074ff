package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const copyChunk = 1 << 20

// CopyFile copies the first size bytes of in to the empty file out. Blocks are
// shared where the file system can, holes stay holes, and out is exactly size
// bytes long afterwards. stop is asked between chunks; when it answers true
// the copy ends with EINTR. It returns the bytes of data that were moved.
//
// Analogous to fs/overlayfs/copy_up.c:ovl_copy_up_file().
func CopyFile(out, in int, size int64, stop func() bool) (moved int64, e syscall.Errno) {
	if size == 0 {
		return 0, 0
	}
	var st Stat
	if e := StatFD(in, &st); e != 0 {
		return 0, e
	}
	if size >= st.Size {
		if Clone(out, in) == 0 {
			return 0, 0
		}
		size = st.Size
	}
	if size == 0 {
		return 0, 0
	}
	// The length is given first: a hole at the end needs no write, and a disk
	// that is too small is not found out only by a short file.
	if e := Truncate(out, size); e != 0 {
		return 0, e
	}
	var buf []byte
	useRange := true
	whole := st.Blocks*512 >= st.Size // there is no hole to be found
	for off := int64(0); off < size; {
		data, end := off, size
		if whole {
			// all of it
		} else if d, e := Lseek(in, off, unix.SEEK_DATA); e == 0 {
			data = d
			if h, e := Lseek(in, d, unix.SEEK_HOLE); e == 0 {
				end = min(h, size)
			}
		} else if e == unix.ENXIO {
			return moved, 0
		}
		if data >= size {
			return moved, 0
		}
		for off = data; off < end; {
			if stop != nil && stop() {
				return moved, unix.EINTR
			}
			n := int(min(copyChunk, end-off))
			var r int
			var e syscall.Errno
			if useRange {
				r, e = CopyRange(in, off, out, off, n)
				if e == unix.ENOSYS || e == unix.EXDEV || e == unix.EINVAL || e == unix.EOPNOTSUPP || e == unix.EPERM || (e == 0 && r == 0) {
					useRange = false
					continue
				}
			} else {
				if buf == nil {
					buf = make([]byte, copyChunk)
				}
				if r, e = Pread(in, buf[:n], off); e == 0 && r > 0 {
					r, e = Pwrite(out, buf[:r], off)
				}
			}
			if e != 0 {
				return moved, e
			}
			if r == 0 { // the file got shorter under our feet
				return moved, Truncate(out, off)
			}
			off += int64(r)
			moved += int64(r)
		}
	}
	return moved, 0
}
