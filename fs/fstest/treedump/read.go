package treedump

import (
	"encoding/binary"
	"errors"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dirent is one entry as getdents64(2) returns it.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8
}

// ReadDir lists a directory, sorted by name, without "." and "..".
func ReadDir(dir string) ([]Dirent, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return ReadDirFD(fd)
}

// ReadDirFD lists what is left to read of an open directory, sorted by name,
// without "." and "..".
func ReadDirFD(fd int) ([]Dirent, error) {
	var ents []Dirent
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		ents = append(ents, parse(buf[:n])...)
	}
	sort.Slice(ents, func(i, j int) bool { return ents[i].Name < ents[j].Name })
	return ents, nil
}

// parse decodes struct linux_dirent64: ino 8, offset 8, reclen 2, type 1, name.
func parse(b []byte) []Dirent {
	var ents []Dirent
	for len(b) >= 19 {
		reclen := int(binary.NativeEndian.Uint16(b[16:]))
		if reclen < 19 || reclen > len(b) {
			break
		}
		name := string(b[19:reclen])
		if i := strings.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if name != "." && name != ".." {
			ents = append(ents, Dirent{Name: name, Ino: binary.NativeEndian.Uint64(b), Type: b[18]})
		}
		b = b[reclen:]
	}
	return ents
}

// Xattrs lists the extended attributes of a name, the name itself if it is a
// symlink, as sorted name=value texts.
func Xattrs(full string) ([]string, error) {
	var list [8 << 10]byte
	n, err := unix.Llistxattr(full, list[:])
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	var value [64 << 10]byte
	for _, name := range strings.Split(string(list[:n]), "\x00") {
		if name == "" {
			continue
		}
		m, err := unix.Lgetxattr(full, name, value[:])
		if err != nil {
			out = append(out, name+" unreadable: "+ErrName(err))
			continue
		}
		out = append(out, name+"="+strconv.QuoteToASCII(string(value[:m])))
	}
	sort.Strings(out)
	return out, nil
}
