package layer

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/plyfs/plyfs/fs/sys"
)

// Dir is one layer's root directory.
type Dir struct {
	Path string // as the user gave it; for messages only, never opened again
	FD   int    // O_RDONLY|O_DIRECTORY|O_CLOEXEC; owned by the Stack
	Dev  uint64 // st_dev of the root
	Ino  uint64

	changed int64 // st_ctime in nanoseconds
}

// Stack is a validated set of layers. It owns its descriptors.
type Stack struct {
	Lower []Dir // top first; never empty
	Upper *Dir  // nil when the mount is read-only
	Work  *Dir  // nil when Upper is
	Index *Dir  // of index files (O_PATH); nil when there is none

	again   bool // of the descriptors of another stack, whose mounts are as they should be
	shelter int  // mount namespace that the lowers are open in; 0 is none
}

// Close closes all directories. It may be called twice.
func (s *Stack) Close() error {
	for _, d := range append(s.dirs(), s.Index) {
		if d == nil {
			continue
		}
		if d.FD >= 0 {
			sys.Close(d.FD)
			d.FD = -1
		}
	}
	if s.shelter > 0 {
		sys.Close(s.shelter)
		s.shelter = 0
	}
	return nil
}

// LowerKey is the same for two stacks whose lowers are the same directories,
// and another one when a root was changed or replaced since.
func (s *Stack) LowerKey() string {
	var b strings.Builder
	for i := range s.Lower {
		d := &s.Lower[i]
		fmt.Fprintf(&b, "%q %x %x %x\n", d.Path, d.Dev, d.Ino, d.changed)
	}
	return b.String()
}

// dirs lists every directory of the stack.
func (s *Stack) dirs() []*Dir {
	out := make([]*Dir, 0, len(s.Lower)+2)
	for i := range s.Lower {
		out = append(out, &s.Lower[i])
	}
	for _, d := range []*Dir{s.Upper, s.Work} {
		if d != nil {
			out = append(out, d)
		}
	}
	return out
}

// id identifies a directory for as long as it is open.
type id struct{ dev, ino uint64 }

func (d *Dir) id() id { return id{d.Dev, d.Ino} }

// idOf asks a descriptor what it is.
func idOf(fd int) (id, syscall.Errno) {
	var st sys.Stat
	e := sys.StatFD(fd, &st)
	return id{uint64(st.Dev), st.Ino}, e
}
