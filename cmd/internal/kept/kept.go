// Package kept is what the server of a mount leaves to the next one beside
// descriptors, in the form that it lies in a memfd that the keeper holds.
package kept

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/layer"
)

// Format is the format of all that a server leaves to the next one: what is
// below, the node table, and the other shared memory. A change raises it; the
// next server reads its own format and those before.
const Format = 1

// newest is the newest format that this program reads. It is a variable so that the test of
// an upgrade can build a program that is too old (go build -ldflags "-X …").
var newest = "1"

// State is what the next server of a mount has to know. Text is bytes, because a path
// may hold any.
type State struct {
	Format  int
	Options []byte
	Dir     []byte
	Dev     string
	MountID int
	Trace   bool
	Session *fusefs.Session
	Slot    json.RawMessage `json:",omitempty"` // where a server of many mounts counts
}

// Write gives a memfd with the state.
func (s *State) Write() (*os.File, error) {
	s.Format = Format
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("plyfs-state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Read reads the state out of what the server before has left, and changes nothing
// but held: that server may be at work yet.
func Read(held map[string]int) (*State, *layer.Options, error) {
	fd, ok := held["state"]
	if !ok {
		return nil, nil, errors.New("the keeper has no state")
	}
	delete(held, "state")
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size > 64<<20 {
		return nil, nil, fmt.Errorf("the state of the mount can't be read: %d bytes, %w", st.Size, err)
	}
	text := make([]byte, st.Size)
	if n, err := unix.Pread(fd, text, 0); err != nil || n != len(text) {
		return nil, nil, fmt.Errorf("the state of the mount can't be read: %w", err)
	}
	s := &State{}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(s); err != nil {
		return nil, nil, fmt.Errorf("the state of the mount is damaged: %w", err)
	}
	if most, err := strconv.Atoi(newest); err != nil || s.Format > most || s.Session == nil {
		return nil, nil, fmt.Errorf("the state of the mount on %s has format %d, and this plyfs reads up to %s: unmount it, and mount again", s.Dir, s.Format, newest)
	}
	o, _, err := layer.Parse([]string{string(s.Options)}, true)
	if err != nil {
		return nil, nil, fmt.Errorf("the options of the mount on %s: %w", s.Dir, err)
	}
	return s, o, nil
}
