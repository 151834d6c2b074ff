package layer

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Again opens the lower layers once more, through the descriptors that s has:
// as they are mounted there, and whatever has become of their paths. The caller
// closes it.
func (s *Stack) Again() (*Stack, error) {
	c := &Stack{again: true}
	for i := range s.Lower {
		d := s.Lower[i]
		fd, e := sys.Open(d.FD, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != 0 {
			c.Close()
			return nil, fmt.Errorf("lowerdir %s: cannot open: %w", d.Path, e)
		}
		d.FD = fd
		c.Lower = append(c.Lower, d)
	}
	return c, nil
}

// Settled waits until the next change of a lower's root gets another change time
// than it has: the clock of a file system may tick only every 10 ms.
func (s *Stack) Settled() {
	const grain = 20 * time.Millisecond
	for i := range s.Lower {
		var st sys.Stat
		if sys.StatFD(s.Lower[i].FD, &st) != 0 {
			continue
		}
		// One from the future, of another machine's clock, is not waited for.
		if age := time.Since(time.Unix(st.Ctim.Unix())); age >= 0 && age < grain {
			time.Sleep(grain - age)
		}
	}
}

// LowerID is what tells a lower layer from any other, and from itself before
// its root was changed: what the file system says of the root now.
func (d *Dir) LowerID() (name, state string, err error) {
	var st sys.Stat
	if e := sys.StatFD(d.FD, &st); e != 0 {
		return "", "", fmt.Errorf("lowerdir %s: %w", d.Path, e)
	}
	name = fmt.Sprintf("%x %x\n", st.Dev, st.Ino)
	state = fmt.Sprintf("%s %x %x %x %x\n", name, st.Ctim.Nano(), st.Mode, st.Uid, st.Gid)
	return name, state, nil
}
