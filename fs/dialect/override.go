package dialect

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Override is a record of virtual ownership: what an object's owner, mode and
// type are for the users of the mount, whatever the object on disk is.
type Override struct {
	UID, GID uint32
	Mode     uint32 // with S_IFMT bits when known, else 0 there
	Rdev     uint64 // unix.Mkdev form; devices only
	HasType  bool   // Mode has S_IFMT bits
}

// overrideMax bounds what is looked at: three numbers and a device.
const overrideMax = 128

// overrideTypes are the type words of containers/storage.
var overrideTypes = [...]struct {
	word string
	typ  uint32
}{
	{"dir", unix.S_IFDIR},
	{"file", unix.S_IFREG},
	{"symlink", unix.S_IFLNK},
	{"pipe", unix.S_IFIFO},
	{"socket", unix.S_IFSOCK},
	{"block", unix.S_IFBLK},
	{"char", unix.S_IFCHR},
}

// ParseOverride reads an override_stat: "uid:gid:octalmode" as fuse-overlayfs
// writes it (the mode may hold the file type), or with ":type" behind it as
// containers/storage does. Where both say a type, the word wins. As there,
// what follows a known type is ignored. For devices "block-MAJ-MIN" and, since
// the rewrite of fuse-overlayfs reads it so, "block:MAJ:MIN" are taken. Ids
// from 2^31 on are negative numbers where fuse-overlayfs wrote them.
func ParseOverride(v []byte) (Override, error) {
	var o Override
	if len(v) > overrideMax {
		return o, badValue("override_stat: too long")
	}
	uid, v, ok1 := cutID(v)
	gid, v, ok2 := cutID(v)
	mode, v, ok3 := cutNumber(v, 8, ':')
	if !ok1 || !ok2 || !ok3 {
		return o, badValue("override_stat: not uid:gid:octalmode[:type]")
	}
	if mode&^(unix.S_IFMT|0o7777) != 0 {
		return o, badValue("override_stat: mode has bits that no mode has")
	}
	o.UID, o.GID, o.Mode = uid, gid, mode
	if v != nil {
		o.Mode &= 0o7777
		if err := o.parseType(v); err != nil {
			return Override{}, err
		}
	}
	switch o.Mode & unix.S_IFMT {
	case 0:
	case unix.S_IFDIR, unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFBLK, unix.S_IFCHR:
		o.HasType = true
	default:
		return Override{}, badValue("override_stat: mode with an impossible file type")
	}
	return o, nil
}

func (o *Override) parseType(v []byte) error {
	for _, t := range &overrideTypes {
		if len(v) < len(t.word) || string(v[:len(t.word)]) != t.word {
			continue
		}
		o.Mode |= t.typ
		if t.typ != unix.S_IFBLK && t.typ != unix.S_IFCHR {
			return nil
		}
		return o.parseDevice(v[len(t.word):])
	}
	return badValue("override_stat: unknown type")
}

// parseDevice reads "-MAJ-MIN".
func (o *Override) parseDevice(v []byte) error {
	if len(v) > 0 && (v[0] == '-' || v[0] == ':') {
		sep := v[0]
		major, rest, ok1 := cutNumber(v[1:], 10, sep)
		minor, _, ok2 := cutNumber(rest, 10, sep)
		if ok1 && ok2 {
			o.Rdev = unix.Mkdev(major, minor)
			return nil
		}
	}
	return badValue("override_stat: device without major and minor number")
}

// cutID reads an id up to ':': printf's %d of an unsigned number.
func cutID(v []byte) (id uint32, rest []byte, ok bool) {
	if len(v) == 0 || v[0] != '-' {
		return cutNumber(v, 10, ':')
	}
	id, rest, ok = cutNumber(v[1:], 10, ':')
	return -id, rest, ok && id <= 1<<31
}

// cutNumber reads an unsigned 32-bit number up to sep or the end. rest is nil
// only when there was no sep.
func cutNumber(v []byte, base uint64, sep byte) (n uint32, rest []byte, ok bool) {
	var x uint64
	i := 0
	for ; i < len(v); i++ {
		c := v[i]
		if c == sep {
			rest = v[i+1:]
			break
		}
		d := uint64(c) - '0'
		if c < '0' || d >= base {
			return 0, nil, false
		}
		if x = x*base + d; x > 1<<32-1 {
			return 0, nil, false
		}
	}
	return uint32(x), rest, i > 0
}

// Append appends the record to dst, byte for byte as
// idtools.FormatContainersOverrideXattrDevice of containers/storage does.
// Without a known type it ends after the mode, which all readers take.
func (o Override) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(o.UID), 10)
	dst = append(dst, ':')
	dst = strconv.AppendUint(dst, uint64(o.GID), 10)
	m := o.Mode & 0o7777
	dst = append(dst, ':', '0'+byte(m>>9), '0'+byte(m>>6&7), '0'+byte(m>>3&7), '0'+byte(m&7))
	for _, t := range &overrideTypes {
		if t.typ != o.Mode&unix.S_IFMT {
			continue
		}
		dst = append(dst, ':')
		dst = append(dst, t.word...)
		if t.typ == unix.S_IFBLK || t.typ == unix.S_IFCHR {
			dst = append(dst, '-')
			dst = strconv.AppendUint(dst, uint64(unix.Major(o.Rdev)), 10)
			dst = append(dst, '-')
			dst = strconv.AppendUint(dst, uint64(unix.Minor(o.Rdev)), 10)
		}
	}
	return dst
}
