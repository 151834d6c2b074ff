package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// Select gives the changes at and below the paths, in their order, and the new
// directories that lead to them. No paths are all changes.
func Select(changes []Change, paths []string) ([]Change, error) {
	if len(paths) == 0 {
		return changes, nil
	}
	want := make([]bool, len(changes))
	for _, p := range paths {
		p = path.Clean("/" + p)
		found := false
		for i := range changes {
			if q := changes[i].Path; q == p || strings.HasPrefix(q, strings.TrimSuffix(p, "/")+"/") {
				want[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("nothing has changed at %s", Quote(p))
		}
		for i := range changes {
			c := &changes[i]
			if c.Type == "dir" && (c.Kind == Added || c.Kind == Replaced) && strings.HasPrefix(p, c.Path+"/") {
				want[i] = true
			}
		}
	}
	var picked []Change
	for i, c := range changes {
		if want[i] {
			picked = append(picked, c)
		}
	}
	return picked, nil
}

// ConflictError says which changes would undo what the host has done.
type ConflictError struct{ Changes []Change }

func (e *ConflictError) Error() string {
	c := e.Changes[0]
	more := ""
	if n := len(e.Changes) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("conflict: %s: %s%s", Quote(c.Path), c.Conflict, more)
}

// Result is what Apply has done.
type Result struct {
	Done   []string // paths
	Kept   []Change // never put on the host, with the reason
	Failed []error
}

// apply is one run of Apply.
type apply struct {
	v      *View
	force  bool
	res    Result
	placed map[string]bool // paths of regular files that are on the host now
	dirs   map[string]bool // directories whose names have changed
	late   []*Change       // directories that get their attributes at the end
	broken []string        // directories that could not be made
	tmp    string          // the name of this step's temporary, see step.go
}

// Apply puts changes on the host. Without force nothing is done when one of
// them is a conflict. What fails does not stop the rest.
func (v *View) Apply(changes []Change, force bool) (*Result, error) {
	a := &apply{v: v, force: force, placed: map[string]bool{}, dirs: map[string]bool{}}
	var conflicts, todo []Change
	for _, c := range changes {
		switch {
		case c.Kept != "":
			a.res.Kept = append(a.res.Kept, c)
			continue
		case c.Conflict != "" && !force:
			conflicts = append(conflicts, c)
		}
		todo = append(todo, c)
	}
	if len(conflicts) > 0 {
		return &a.res, &ConflictError{conflicts}
	}
	for i := range todo {
		if err := a.mountsIn(&todo[i]); err != nil {
			return &a.res, err
		}
	}
	for i := range todo {
		a.do(&todo[i])
	}
	for _, c := range slices.Backward(a.late) {
		a.begin(c)
		if err := a.dirAttrs(c); err != nil {
			a.fail(c, err)
			continue
		}
		a.res.Done = append(a.res.Done, c.Path)
	}
	a.end()
	a.sync()
	return &a.res, nil
}

func (a *apply) fail(c *Change, err error) {
	a.res.Failed = append(a.res.Failed, fmt.Errorf("%s: %w", Quote(c.Path), err))
}

// mountsIn refuses to take away what something is mounted on.
func (a *apply) mountsIn(c *Change) error {
	if c.Kind != Deleted && c.Kind != Replaced {
		return nil
	}
	dirfd, name, e := a.parent(c.Path)
	if e != 0 {
		return nil // doing it will tell
	}
	defer sys.Close(dirfd)
	if at := mountBelow(dirfd, name, c.Path, a.v); at != "" {
		return fmt.Errorf("%s is a mount point on the host: nothing is deleted across it; unmount it, or commit other paths", Quote(at))
	}
	return nil
}

// parent opens the directory of the host that holds p: beneath the root, and
// through no symbolic link.
func (a *apply) parent(p string) (dirfd int, name string, e syscall.Errno) {
	dirfd, e = beneath(a.v.Host, path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	return dirfd, path.Base(p), e
}

// beneath opens an absolute path below root.
func beneath(root int, p string, flags int) (int, syscall.Errno) {
	if p = strings.TrimPrefix(p, "/"); p == "" {
		p = "."
	}
	return sys.OpenBeneath(root, p, flags)
}

func (a *apply) do(c *Change) {
	for _, b := range a.broken {
		if strings.HasPrefix(c.Path, b+"/") {
			return // its directory has failed, which was said
		}
	}
	late, err := a.change(c)
	if err != nil {
		if c.Type == "dir" && c.Kind != Deleted {
			a.broken = append(a.broken, c.Path)
		}
		a.fail(c, err)
		return
	}
	a.dirs[path.Dir(c.Path)] = true
	if late {
		a.late = append(a.late, c)
		return
	}
	if c.node != nil && c.node.file() {
		a.placed[c.Path] = true
	}
	a.res.Done = append(a.res.Done, c.Path)
}

// change does one change; late says that a directory's attributes are still to
// be set.
func (a *apply) change(c *Change) (late bool, err error) {
	dirfd, name, e := a.parent(c.Path)
	if e == unix.ELOOP {
		return false, errors.New("a directory above it is a symbolic link on the host by now")
	}
	if e != 0 {
		return false, fmt.Errorf("its directory on the host: %w", e)
	}
	defer sys.Close(dirfd)
	if err := a.unchanged(c, dirfd, name); err != nil {
		return false, err
	}
	a.begin(c)
	switch {
	case c.Kind == Deleted:
		return false, a.v.remove(dirfd, name, c.Path)
	case c.node.dir():
		return a.makeDir(c, dirfd, name)
	case c.Kind == Changed && !c.has(content) && !c.has(target) && !c.has(device):
		return false, a.setAttrs(c, dirfd, name, c.before)
	}
	return false, a.place(c, dirfd, name)
}

// unchanged looks once more whether the host still is as it was when the
// changes were listed.
func (a *apply) unchanged(c *Change, dirfd int, name string) error {
	if a.force {
		return nil
	}
	now, e := hostObject(dirfd, name)
	switch {
	case e == unix.ENOENT && c.before == nil:
		return nil
	case e == unix.ENOENT:
		return errors.New("it is gone from the host meanwhile")
	case e != 0:
		return e
	case c.before == nil:
		return errors.New("the host has made it meanwhile")
	case now.dir() && c.before.dir() && now.st.Ino == c.before.st.Ino:
		return nil
	case now.st.Ino != c.before.st.Ino || now.st.Ctim != c.before.st.Ctim || now.st.Size != c.before.st.Size:
		return errors.New("the host has changed it meanwhile")
	}
	return nil
}

// makeDir makes a directory, or lets one be changed that is there.
func (a *apply) makeDir(c *Change, dirfd int, name string) (late bool, err error) {
	switch c.Kind {
	case Changed:
		// More rights come before what is in it, fewer after.
		if c.node.mode&0o300 == 0o300 && c.before.mode&0o300 != 0o300 {
			_ = sys.Chmod(dirfd, name, c.node.mode&0o7777)
			fail.Point("sandbox.opened")
			a.rebase(c, dirfd, name)
		}
		return true, nil
	case Replaced:
		if e := sys.Mkdir(dirfd, a.tmp, 0o700); e != 0 {
			return false, e
		}
		fail.Point("sandbox.made")
		return true, a.swap(c, dirfd, a.tmp, name)
	}
	e := sys.Mkdir(dirfd, name, 0o700)
	if e == unix.EEXIST && a.force {
		return true, nil
	}
	if e != 0 {
		return false, e
	}
	fail.Point("sandbox.made")
	return true, nil
}

// swap puts tmp in the place of name, which is of another type, and removes
// what was there.
func (a *apply) swap(c *Change, dirfd int, tmp, name string) error {
	e := sys.Rename(dirfd, tmp, dirfd, name, unix.RENAME_EXCHANGE)
	if e == unix.EINVAL || e == unix.ENOSYS { // a file system without it: not in one step
		old := oldName(a.tmp)
		if e = sys.Rename(dirfd, name, dirfd, old, 0); e == 0 {
			fail.Point("sandbox.away")
			if e = sys.Rename(dirfd, tmp, dirfd, name, 0); e != 0 {
				_ = sys.Rename(dirfd, old, dirfd, name, 0)
			} else {
				tmp = old
			}
		}
	}
	if e != 0 {
		_ = a.v.remove(dirfd, tmp, c.Path)
		return e
	}
	fail.Point("sandbox.swapped")
	return a.v.remove(dirfd, tmp, c.Path)
}

// sync makes the names durable.
func (a *apply) sync() {
	for p := range a.dirs {
		fd, e := beneath(a.v.Host, p, unix.O_RDONLY|unix.O_DIRECTORY)
		if e != 0 {
			continue // deleted by a later change, or not readable
		}
		if e := sys.Fsync(fd); e != 0 && e != unix.EINVAL && e != unix.EROFS {
			a.res.Failed = append(a.res.Failed, fmt.Errorf("syncing the directory %s: %w", p, e))
		}
		sys.Close(fd)
	}
}

// rebase notes in the upper that the host's object is the upper's by now.
func (a *apply) rebase(c *Change, dirfd int, name string) {
	var st sys.Stat
	if c.node == nil || sys.StatAt(dirfd, name, &st) != 0 {
		return
	}
	a.v.rebase(c.Path, &st)
}

const tmpPrefix = ".plyfs-"

// tmpName is a name for something on its way.
func tmpName() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return tmpPrefix + hex.EncodeToString(b[:])
}

// privileged says whether owners can be given.
func privileged() bool { return os.Geteuid() == 0 }
