package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// A checkpoint is a copy of the upper, in checkpoints/LABEL of the sandbox's
// directory. It appears by a rename when it is complete; whatever has another
// kind of name there is a leftover of somebody who was killed.

// Checkpoint is a state of a sandbox that can be gone back to.
type Checkpoint struct {
	Label string    `json:"label"`
	Made  time.Time `json:"made"`
}

const (
	checkpointDir  = "checkpoints"
	checkpointFile = "checkpoint.json"
	upperName      = "upper"
)

// CheckLabel says whether a label can be a directory's name.
func CheckLabel(label string) error {
	if label == "" || len(label) > 128 {
		return fmt.Errorf("a label has 1 to 128 characters")
	}
	for i, c := range label {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '.' || c == '_' || c == '-')
		if !ok {
			return fmt.Errorf("label %q: letters, digits, and after the first one . _ - make a label", label)
		}
	}
	return nil
}

// Checkpoints lists those of the sandbox in dir, the oldest first.
func Checkpoints(dir string) ([]Checkpoint, error) {
	entries, err := os.ReadDir(filepath.Join(dir, checkpointDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Checkpoint
	for _, en := range entries {
		var c Checkpoint
		text, err := os.ReadFile(filepath.Join(dir, checkpointDir, en.Name(), checkpointFile))
		if err != nil || json.Unmarshal(text, &c) != nil || c.Label != en.Name() {
			continue
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Checkpoint) int { return a.Made.Compare(b.Made) })
	return list, nil
}

// MakeCheckpoint copies the upper of the sandbox in dir, which must not be
// mounted. Without a label the next number is taken.
func MakeCheckpoint(dir, label string) (Checkpoint, error) {
	have, err := Checkpoints(dir)
	if err != nil {
		return Checkpoint{}, err
	}
	taken := func(l string) bool {
		return slices.ContainsFunc(have, func(c Checkpoint) bool { return c.Label == l })
	}
	for n := len(have) + 1; label == ""; n++ {
		if l := fmt.Sprint(n); !taken(l) {
			label = l
		}
	}
	if err := CheckLabel(label); err != nil {
		return Checkpoint{}, err
	}
	if taken(label) {
		return Checkpoint{}, fmt.Errorf("there is a checkpoint %s already: give another label", label)
	}
	c := Checkpoint{label, time.Now().UTC().Truncate(time.Millisecond)}
	return c, inDir(dir, func(fd int) error { return c.write(fd) })
}

// inDir opens a sandbox's directory.
func inDir(dir string, fn func(fd int) error) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer sys.Close(fd)
	return fn(fd)
}

func (c Checkpoint) write(dir int) error {
	parent, err := openMake(dir, checkpointDir)
	if err != nil {
		return err
	}
	defer sys.Close(parent)
	tidy(parent, "")
	tmp := tmpName()
	fd, err := openMake(parent, tmp)
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	err = copyTree(dir, upperName, fd, upperName)
	if err == nil {
		err = writeJSON(fd, checkpointFile, c, true)
	}
	if err == nil {
		if err = unix.Syncfs(fd); err == nil {
			err = asError(sys.Rename(parent, tmp, parent, c.Label, unix.RENAME_NOREPLACE))
		}
	}
	if err != nil {
		_ = drop(parent, tmp)
		return fmt.Errorf("checkpoint %s: %w", c.Label, err)
	}
	return asError(sys.Fsync(parent))
}

// Rollback makes the upper of the sandbox in dir what it was at a checkpoint
// ("" is the last one). The checkpoint stays. Until the copy is complete the
// upper is as it was.
func Rollback(dir, label string) (Checkpoint, error) {
	have, err := Checkpoints(dir)
	if err != nil {
		return Checkpoint{}, err
	}
	if len(have) == 0 {
		return Checkpoint{}, errors.New("it has no checkpoint: plyfs checkpoint makes one")
	}
	i := len(have) - 1
	if label != "" {
		i = slices.IndexFunc(have, func(c Checkpoint) bool { return c.Label == label })
	}
	if i < 0 {
		return Checkpoint{}, fmt.Errorf("it has no checkpoint %s: there is %s", label, labels(have))
	}
	return have[i], inDir(dir, have[i].restore)
}

func labels(list []Checkpoint) string {
	s := ""
	for i, c := range list {
		if i > 0 {
			s += ", "
		}
		s += c.Label
	}
	return s
}

func (c Checkpoint) restore(dir int) error {
	from, e := sys.OpenBeneath(dir, checkpointDir+"/"+c.Label, unix.O_RDONLY|unix.O_DIRECTORY)
	if e != 0 {
		return failed("checkpoint", c.Label, e)
	}
	defer sys.Close(from)
	tidy(dir, upperName)
	tmp := upperName + tmpName()
	err := copyTree(from, upperName, dir, tmp)
	if err == nil {
		err = unix.Syncfs(dir)
	}
	if err == nil {
		err = asError(sys.Rename(dir, tmp, dir, upperName, unix.RENAME_EXCHANGE))
	}
	if err != nil {
		_ = drop(dir, tmp)
		return fmt.Errorf("going back to %s: %w", c.Label, err)
	}
	if err := asError(sys.Fsync(dir)); err != nil {
		return err
	}
	return drop(dir, tmp)
}

// tidy removes what somebody who was killed has left.
func tidy(dirfd int, prefix string) {
	fd, e := sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return
	}
	defer sys.Close(fd)
	names, _ := listNames(fd)
	for _, n := range names {
		if strings.HasPrefix(n, prefix+tmpPrefix) {
			_ = drop(dirfd, n)
		}
	}
}

// drop removes a tree of ours.
func drop(dirfd int, name string) error {
	e := sys.Unlink(dirfd, name)
	if e != unix.EISDIR && e != unix.EPERM {
		return removeError(name, e)
	}
	_, err := (&View{}).removeDir(dirfd, name, "/"+name)
	return err
}

// openMake opens a directory and makes it when it isn't there.
func openMake(dirfd int, name string) (int, error) {
	if e := sys.Mkdir(dirfd, name, 0o700); e != 0 && e != unix.EEXIST {
		return -1, failed("making", name, e)
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return -1, failed("opening", name, e)
	}
	return fd, nil
}

// writeJSON writes a file by way of a temporary one; one that is durable is on
// the disk then.
func writeJSON(dirfd int, name string, v any, durable bool) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := tmpName()
	fd, e := sys.Open(dirfd, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if e != 0 {
		return failed("writing", name, e)
	}
	_, e = sys.Pwrite(fd, append(text, '\n'), 0)
	if e == 0 && durable {
		e = sys.Fsync(fd)
	}
	sys.Close(fd)
	if e == 0 {
		e = sys.Rename(dirfd, tmp, dirfd, name, 0)
	}
	if e != 0 {
		_ = sys.Unlink(dirfd, tmp)
		return failed("writing", name, e)
	}
	return nil
}
