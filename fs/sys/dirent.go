package sys

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadDir calls fn for every entry of the open directory fd but "." and "..",
// until fn answers false. The name is valid during the call only. buf is the
// getdents buffer (32 KiB is a good size).
func ReadDir(fd int, buf []byte, fn func(name string, ino uint64, typ uint8) bool) syscall.Errno {
	for {
		n, e := Getdents(fd, buf)
		if e != 0 {
			return e
		}
		if n <= 0 {
			return 0
		}
		for p := buf[:n]; len(p) >= direntName; {
			reclen := int(binary.NativeEndian.Uint16(p[16:]))
			if reclen < direntName || reclen > len(p) {
				return unix.EIO
			}
			name := p[direntName:reclen]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			ino := binary.NativeEndian.Uint64(p)
			typ := p[18]
			p = p[reclen:]
			if len(name) == 0 || string(name) == "." || string(name) == ".." {
				continue
			}
			if !fn(unsafe.String(&name[0], len(name)), ino, typ) {
				return 0
			}
		}
	}
}

// direntName is the offset of d_name in struct linux_dirent64.
const direntName = 19
