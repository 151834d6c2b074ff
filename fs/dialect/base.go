package dialect

import (
	"bytes"
	"strconv"
)

// BaseXattr is the xattr, on regular files and directories of the upper layer
// of a live mount, that says which state of the lower they took the place of.
const BaseXattr = "user.plyfs.base"

// Base is the state of a lower object at that moment. With it somebody who puts
// the change back sees whether the lower was changed meanwhile.
type Base struct {
	Ino, Size    uint64
	Mode         uint32
	Mtime, Ctime int64 // nanoseconds
}

// Append appends one record to dst: five numbers with blanks between, the mode
// in octal.
func (b Base) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, b.Ino, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, b.Size, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(b.Mode), 8)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, b.Mtime, 10)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, b.Ctime, 10)
}

// maxBases bounds the records of one object. A file with several names may have
// one for each: they took the place of different files.
const maxBases = 8

// AddBase puts a record in front of those in v, in place of one of the same
// inode. What can't be read in v is dropped.
func AddBase(v []byte, b Base) []byte {
	out := b.Append(nil)
	had, _ := ParseBases(v)
	n := 1
	for _, h := range had {
		if h.Ino != b.Ino && n < maxBases {
			out = h.Append(append(out, ';'))
			n++
		}
	}
	return out
}

// ParseBases reads the value of BaseXattr: records with semicolons between,
// the latest first.
func ParseBases(v []byte) (list []Base, err error) {
	for _, one := range bytes.Split(v, []byte{';'}) {
		b, err := ParseBase(one)
		if err != nil {
			return nil, err
		}
		if len(list) < maxBases {
			list = append(list, b)
		}
	}
	return list, nil
}

// ParseBase reads one record.
func ParseBase(v []byte) (Base, error) {
	f := bytes.Split(v, []byte{' '})
	if len(v) > 128 || len(f) != 5 {
		return Base{}, badValue("base: not five numbers")
	}
	ino, e1 := strconv.ParseUint(string(f[0]), 10, 64)
	size, e2 := strconv.ParseUint(string(f[1]), 10, 64)
	mode, e3 := strconv.ParseUint(string(f[2]), 8, 32)
	mtime, e4 := strconv.ParseInt(string(f[3]), 10, 64)
	ctime, e5 := strconv.ParseInt(string(f[4]), 10, 64)
	for _, err := range []error{e1, e2, e3, e4, e5} {
		if err != nil {
			return Base{}, badValue("base: not five numbers")
		}
	}
	return Base{Ino: ino, Size: size, Mode: uint32(mode), Mtime: mtime, Ctime: ctime}, nil
}
