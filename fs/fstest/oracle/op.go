package oracle

import (
	"fmt"
	"strings"
)

// Kind is what an operation does.
type Kind string

// The operations.
const (
	opCreate    Kind = "create" // open with O_CREAT and Flags, write
	opWrite     Kind = "write"
	opAppend    Kind = "append"
	opTruncate  Kind = "truncate"
	opOpenTrunc Kind = "open-trunc"
	opUnlink    Kind = "unlink"
	opMkdir     Kind = "mkdir"
	opRmdir     Kind = "rmdir"
	opRename    Kind = "rename"
	opLink      Kind = "link"
	opSymlink   Kind = "symlink"
	opMknod     Kind = "mknod"
	opChmod     Kind = "chmod"
	opChown     Kind = "chown"
	opUtimens   Kind = "utimens"
	opSetxattr  Kind = "setxattr"
	opDelxattr  Kind = "removexattr"
	opStat      Kind = "stat"
	opReaddir   Kind = "readdir"
	opRead      Kind = "read"
	opGone      Kind = "open-unlink-write"
	opFallocate Kind = "fallocate"
	opMmap      Kind = "mmap-write"
	opCopy      Kind = "copy_file_range"
	opTmpfile   Kind = "tmpfile"
	opOpen      Kind = "hold-open" // into Slot
	opHeldRead  Kind = "held-read"
	opHeldWrite Kind = "held-write"
	opHeldTrunc Kind = "held-ftruncate"
	opHeldStat  Kind = "held-fstat"
	opHeldChmod Kind = "held-fchmod"
	opHeldClose Kind = "held-close"
	opHeldSync  Kind = "held-write-fsync" // in scripts only
	opRemount   Kind = "remount"
	opSwap      Kind = "swap"   // remount with the uppers exchanged
	opCommit    Kind = "commit" // remount with the upper as top lower, and a fresh one
)

// Op is one operation. Which fields count depends on the kind.
type Op struct {
	Kind     Kind
	Path, To string // below the mount point; "." is its root
	Flags    int
	Mode     uint32
	Umask    uint32
	As       uint32 // file system uid and gid; 0 = root
	UID, GID int    // -1 = leave
	Off      int64
	Len      int64
	Tag      byte
	Sec      [2]int64 // atime, mtime; or timeNow, timeOmit
	Name     string
	Value    string
	Slot     int
	Blind    bool // do not stat the names afterwards
}

// GoString is an operation on one line, with the fields that count.
func (o Op) GoString() string {
	var b strings.Builder
	b.WriteString(string(o.Kind))
	if o.Path != "" {
		fmt.Fprintf(&b, " %s", short(o.Path))
	}
	if o.To != "" {
		fmt.Fprintf(&b, " -> %s", short(o.To))
	}
	b.WriteString(o.arguments())
	if o.As != 0 {
		fmt.Fprintf(&b, " as=%d", o.As)
	}
	if o.Blind {
		b.WriteString(" blind")
	}
	return b.String()
}

func (o Op) arguments() string {
	mode := fmt.Sprintf(" mode=%04o umask=%03o", o.Mode, o.Umask)
	data := fmt.Sprintf(" off=%d %d bytes of %q", o.Off, o.Len, o.Tag)
	switch o.Kind {
	case opCreate:
		return mode + data + " flags=" + openFlags(o.Flags)
	case opWrite, opMmap, opGone:
		return data
	case opAppend:
		return fmt.Sprintf(" %d bytes of %q", o.Len, o.Tag)
	case opTruncate, opHeldTrunc:
		return fmt.Sprintf(" len=%d slot=%d", o.Len, o.Slot)
	case opMkdir, opTmpfile:
		return mode
	case opRename:
		return fmt.Sprintf(" flags=%s", renameFlags(o.Flags))
	case opMknod:
		return fmt.Sprintf(" type=%#o rdev=%#x%s", o.Flags, o.Len, mode)
	case opChmod:
		return fmt.Sprintf(" %04o", o.Mode)
	case opChown:
		return fmt.Sprintf(" %d:%d", o.UID, o.GID)
	case opUtimens:
		return fmt.Sprintf(" atime=%d mtime=%d", o.Sec[0], o.Sec[1])
	case opSetxattr:
		return fmt.Sprintf(" %s flags=%d", Xattr{o.Name, o.Value}, o.Flags)
	case opDelxattr:
		return " " + o.Name
	case opFallocate:
		return fmt.Sprintf(" mode=%d off=%d len=%d", o.Flags, o.Off, o.Len)
	case opCopy:
		return fmt.Sprintf(" off=%d len=%d", o.Off, o.Len)
	case opOpen:
		return fmt.Sprintf(" slot=%d flags=%s", o.Slot, openFlags(o.Flags))
	case opHeldWrite, opHeldSync:
		return fmt.Sprintf(" slot=%d%s", o.Slot, data)
	case opHeldRead, opHeldStat, opHeldClose:
		return fmt.Sprintf(" slot=%d", o.Slot)
	case opHeldChmod:
		return fmt.Sprintf(" slot=%d %04o", o.Slot, o.Mode)
	}
	return ""
}

// short makes a 255-byte name readable, and odd bytes visible, spaces too.
func short(p string) string {
	return strings.NewReplacer(names[6], "<255>", " ", `\x20`).Replace(strings.Trim(fmt.Sprintf("%q", p), `"`))
}
