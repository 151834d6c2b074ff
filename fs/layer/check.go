package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// check refuses stacks whose layers get in each other's way. Analogous to
// fs/overlayfs/super.c:ovl_check_overlapping_layers(); a lower inside another
// lower is accepted here, since neither is ever written.
func (s *Stack) check(live bool) error {
	if err := s.checkTwice(); err != nil {
		return err
	}
	if s.Upper == nil {
		return nil
	}
	if err := s.checkSameFilesystem(); err != nil {
		return err
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	return s.checkNesting(live)
}

// checkTwice finds a directory that is given twice.
func (s *Stack) checkTwice() error {
	seen := make(map[id]*Dir)
	for _, d := range s.dirs() {
		if first, ok := seen[d.id()]; ok {
			if d == s.Work && first == s.Upper {
				return fmt.Errorf("upperdir and workdir are the same directory (%s): give the workdir one of its own beside it", d.Path)
			}
			return fmt.Errorf("the same directory is given twice: %s and %s (%s)", first.Path, d.Path, s.names(first, d))
		}
		seen[d.id()] = d
	}
	return nil
}

// names says what a and b are in this stack.
func (s *Stack) names(a, b *Dir) string {
	return s.role(a) + " and " + s.role(b)
}

func (s *Stack) role(d *Dir) string {
	switch d {
	case s.Upper:
		return "upperdir"
	case s.Work:
		return "workdir"
	}
	return "lowerdir"
}

// checkWritable refuses an upper or work directory on a read-only filesystem,
// and a work directory that the caller may not write. An upper whose root has
// no write bit is fine: that is what the root of some images looks like.
func (s *Stack) checkWritable() error {
	for _, d := range []*Dir{s.Upper, s.Work} {
		var st unix.Statfs_t
		if sys.Statfs(d.FD, &st) == 0 && st.Flags&unix.ST_RDONLY != 0 {
			return fmt.Errorf("%s %s is on a read-only filesystem: leave upperdir and workdir out (or add ro) for a read-only mount", s.role(d), d.Path)
		}
	}
	err := unix.Faccessat(s.Work.FD, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("workdir %s is not writable for you: %w", s.Work.Path, err)
	}
	return nil
}

// checkSameFilesystem wants rename(2) to work between the two: the same
// device number (btrfs has one for each subvolume) and the same mount.
func (s *Stack) checkSameFilesystem() error {
	if s.Upper.Dev != s.Work.Dev {
		return fmt.Errorf("workdir %s is on another filesystem than upperdir %s: choose a workdir beside the upperdir", s.Work.Path, s.Upper.Path)
	}
	u, w := mountID(s.Upper.FD), mountID(s.Work.FD)
	if u != 0 && w != 0 && u != w {
		return fmt.Errorf("workdir %s is in another mount of the filesystem of upperdir %s: choose a workdir beside the upperdir", s.Work.Path, s.Upper.Path)
	}
	return nil
}

// checkNesting refuses a workdir inside the upper and the like. A live lower
// may hold the upper: that is what a view of the host's own root looks like.
func (s *Stack) checkNesting(live bool) error {
	marks := map[id]*Dir{s.Upper.id(): s.Upper, s.Work.id(): s.Work}
	if !live {
		for i := range s.Lower {
			marks[s.Lower[i].id()] = &s.Lower[i]
		}
	}
	clean := make(map[id]bool)
	for _, d := range []*Dir{s.Upper, s.Work} {
		if at := d.inside(marks, clean); at != nil {
			return s.nested(d, at)
		}
	}
	// From here on only the writable ones matter, and most layers share
	// their parents: each of those is asked once.
	marks = map[id]*Dir{s.Upper.id(): s.Upper, s.Work.id(): s.Work}
	for i := range s.Lower {
		if at := s.Lower[i].inside(marks, clean); at != nil {
			return s.nested(&s.Lower[i], at)
		}
	}
	return nil
}

func (s *Stack) nested(d, at *Dir) error {
	hint := "give them directories beside each other"
	if s.role(at) == "lowerdir" {
		hint = "move it out of the layer, or add live if the layer is a directory in use"
	}
	return fmt.Errorf("%s %s is inside %s %s: %s", s.role(d), d.Path, s.role(at), at.Path, hint)
}

// inside gives the first of marks that d is strictly inside of, or nil. It
// walks up from the descriptor; where the caller may not search a parent, the walk
// ends, and a bind mount is followed to the place where it is mounted.
// Directories in clean, and all above them, are in no mark: inside adds what
// it learns.
func (d *Dir) inside(marks map[id]*Dir, clean map[id]bool) *Dir {
	var walked []id
	fd, up := d.FD, ".."
	for at := d.id(); ; up += "/.." {
		var st sys.Stat
		e := sys.StatAt(fd, up, &st)
		above := id{uint64(st.Dev), st.Ino}
		if e != 0 || above == at || clean[above] {
			break
		}
		if m := marks[above]; m != nil {
			if fd != d.FD {
				sys.Close(fd)
			}
			return m
		}
		walked = append(walked, above)
		at = above
		if len(up)+len("/..") <= sys.NameMax {
			continue
		}
		far, e := sys.OpenDir(fd, up)
		if fd != d.FD {
			sys.Close(fd)
		}
		if fd, up = far, "."; e != 0 {
			fd = d.FD
			break
		}
	}
	if fd != d.FD {
		sys.Close(fd)
	}
	for _, w := range walked {
		clean[w] = true
	}
	return nil
}
