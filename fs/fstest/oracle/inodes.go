package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Inode numbers are asked of plyfs alone: they stay what they are for the life
// of the mount, across copy-up, link and rename, and across a remount. The
// kernel's change with the options and the history of a file.

// inodesBefore remembers the inode numbers that an operation must not change;
// the function that it returns says which it did, or "".
func (s *Side) inodesBefore(o *Op) (after func(Result) string) {
	nothing := func(Result) string { return "" }
	switch o.Kind {
	case opHeldRead, opHeldWrite, opHeldTrunc, opHeldStat, opHeldChmod:
		return func(Result) string {
			if fd := s.held[o.Slot]; fd >= 0 && inodeOfFD(fd) != s.inos[o.Slot] {
				return "the inode number of an open file changed"
			}
			return ""
		}
	case opUnlink, opMkdir, opRmdir, opSymlink, opMknod, opGone, opTmpfile, opCreate, opOpen, opHeldClose, opRemount, opSwap:
		return nothing
	}
	if o.Blind {
		return nothing
	}
	from, to := s.inode(o.Path), s.inode(o.To)
	if from == 0 {
		return nothing
	}
	return func(r Result) string { return s.inodesAfter(o, r, from, to) }
}

func (s *Side) inodesAfter(o *Op, r Result, from, to uint64) string {
	wantFrom, wantTo := from, to
	if r.Errno == "ok" {
		switch {
		case o.Kind == opRename && o.Flags&unix.RENAME_EXCHANGE != 0:
			wantFrom, wantTo = to, from
		case o.Kind == opRename && from != to:
			wantFrom, wantTo = 0, from
		case o.Kind == opLink:
			wantTo = from
		}
	}
	if s.inode(o.Path) != wantFrom {
		return fmt.Sprintf("the inode number of %s changed", short(o.Path))
	}
	if o.To != "" && s.inode(o.To) != wantTo {
		return fmt.Sprintf("the inode number of %s is not what it should be", short(o.To))
	}
	return ""
}

// inode is the inode number of a name, 0 if there is no such name.
func (s *Side) inode(p string) uint64 {
	var st unix.Stat_t
	if p == "" || unix.Lstat(s.path(p), &st) != nil {
		return 0
	}
	return st.Ino
}

func inodeOfFD(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// renumbered lists names whose inode number is another in after. Without rights
// there is nowhere to note those of symlinks and special files.
func renumbered(before, after *treedump.Tree, userXattr bool) []string {
	var out []string
	for _, p := range before.Paths() {
		b, a := before.Nodes[p], after.Nodes[p]
		if a == nil || a.Ino == b.Ino || (userXattr && b.Type != unix.S_IFREG && b.Type != unix.S_IFDIR) {
			continue
		}
		out = append(out, short(p))
	}
	return out
}
