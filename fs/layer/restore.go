package layer

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Held are the stack's descriptors by the names that Restore knows them by. With
// them another process has the same directories, whatever their paths lead to by
// then.
func (s *Stack) Held() map[string]int {
	held := map[string]int{}
	for i := range s.Lower {
		held["lower"+strconv.Itoa(i)] = s.Lower[i].FD
	}
	if s.Upper != nil {
		held["upper"], held["work"] = s.Upper.FD, s.Work.FD
	}
	if s.shelter > 0 {
		held["shelter"] = s.shelter
	}
	return held
}

// Restore makes the stack that o named from the descriptors that Held gave. It
// takes them over, also when it fails.
func Restore(o *Options, held map[string]int) (_ *Stack, err error) {
	s := &Stack{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	take := func(name, path string) (Dir, error) {
		fd, ok := held[name]
		if !ok {
			return Dir{}, fmt.Errorf("the descriptor of %s (%s) was not kept", path, name)
		}
		delete(held, name)
		unix.CloseOnExec(fd)
		d := Dir{Path: path, FD: fd}
		var st sys.Stat
		if e := sys.StatFD(fd, &st); e != 0 {
			return d, fmt.Errorf("%s: %w", path, e)
		}
		d.Dev, d.Ino, d.changed = uint64(st.Dev), st.Ino, st.Ctim.Nano()
		return d, nil
	}
	lower, upper := o.Lower, o.Upper
	if upper != "" && o.ReadOnly {
		lower, upper = append([]string{upper}, lower...), ""
	}
	if err := roomForFDs(len(lower)); err != nil {
		return s, err
	}
	for i, path := range lower {
		d, err := take("lower"+strconv.Itoa(i), path)
		if err != nil {
			return s, err
		}
		s.Lower = append(s.Lower, d)
	}
	if upper != "" {
		u, err := take("upper", upper)
		if err != nil {
			return s, err
		}
		s.Upper = &u
		w, err := take("work", o.Work)
		if err != nil {
			return s, err
		}
		s.Work = &w
	}
	if fd, ok := held["shelter"]; ok {
		delete(held, "shelter")
		unix.CloseOnExec(fd)
		s.shelter = fd
	}
	return s, nil
}
