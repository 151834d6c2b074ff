package oracle

import (
	"golang.org/x/sys/unix"
)

// doHeld works on files that stay open from one operation to the next: across
// a copy-up, a rename or the removal of their name.
func (s *Side) doHeld(o *Op) (string, error) {
	fd := &s.held[o.Slot]
	if o.Kind == opOpen {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		f, err := open(s.path(o.Path), o.Flags, 0)
		*fd = f
		if err != nil {
			*fd = -1
		} else {
			s.inos[o.Slot] = inodeOfFD(f)
		}
		return "", err
	}
	if *fd < 0 {
		return "nothing held", nil
	}
	switch o.Kind {
	case opHeldRead:
		return content(*fd)
	case opHeldWrite:
		return pwrite(*fd, pattern(o.Tag, int(o.Len)), o.Off)
	case opHeldTrunc:
		var st unix.Stat_t
		if unix.Fstat(*fd, &st) == nil && st.Size == o.Len {
			return sameSize, nil
		}
		return "", unix.Ftruncate(*fd, o.Len)
	case opHeldChmod:
		return "", unix.Fchmod(*fd, o.Mode)
	case opHeldSync:
		text, err := pwrite(*fd, pattern(o.Tag, int(o.Len)), o.Off)
		if err == nil {
			err = unix.Fsync(*fd)
		}
		return text, err
	case opHeldStat:
		var st unix.Stat_t
		err := unix.Fstat(*fd, &st)
		return statText(&st, err), err
	}
	err := unix.Close(*fd)
	*fd = -1
	return "", err
}

// gone says that the file that the operation is about has no name any more.
func (s *Side) gone(o *Op) bool {
	var st unix.Stat_t
	fd := s.held[o.Slot]
	return fd >= 0 && unix.Fstat(fd, &st) == nil && st.Nlink == 0
}
