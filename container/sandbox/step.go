package sandbox

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// stepXattr, on the upper directory, is the step of a commit that is under way:
// what its temporary is called, which object of the host it began with, and the
// path. Whoever comes after a commit that was killed mends that one step. The
// users of the view can't set it: user.plyfs.* is refused there.
const stepXattr = "user.plyfs.step"

// step is what is in it.
type step struct {
	path, tmp   string
	ino         uint64 // of the host's object; 0 is none
	size, mtime int64
}

func (s *step) String() string {
	return fmt.Sprintf("%s %d %d %d %s", s.tmp, s.ino, s.size, s.mtime, s.path)
}

func isTmp(name string) bool {
	digits, ok := strings.CutPrefix(name, ".plyfs-")
	return ok && len(digits) == 12 && strings.Trim(digits, "0123456789abcdef") == ""
}

func parseStep(text string) (s step, ok bool) {
	f := strings.SplitN(text, " ", 5)
	if len(f) != 5 || !isTmp(f[0]) || !path.IsAbs(f[4]) || path.Clean(f[4]) != f[4] || f[4] == "/" {
		return s, false
	}
	var e1, e2, e3 error
	s.tmp, s.path = f[0], f[4]
	s.ino, e1 = strconv.ParseUint(f[1], 10, 64)
	s.size, e2 = strconv.ParseInt(f[2], 10, 64)
	s.mtime, e3 = strconv.ParseInt(f[3], 10, 64)
	return s, e1 == nil && e2 == nil && e3 == nil
}

// begin notes the step before the host is touched. Without the note, where it
// can't be had, a kill may leave a temporary.
func (a *apply) begin(c *Change) {
	a.tmp = tmpName()
	s := step{path: c.Path, tmp: a.tmp}
	if c.before != nil {
		s.ino, s.size, s.mtime = c.before.st.Ino, c.before.st.Size, c.before.st.Mtim.Nano()
	}
	_ = sys.SetXattr(a.v.Upper, "", stepXattr, []byte(s.String()), 0)
	fail.Point("sandbox.begun")
}

// end notes that no step is under way.
func (a *apply) end() { _ = sys.RemoveXattr(a.v.Upper, "", stepXattr) }

// oldName is what the host's object is called between two renames, where one
// does not do.
func oldName(tmp string) string { return tmp + "-old" }

// Recover mends the step in which a commit was killed, if one was: its temporary
// goes, what it had moved out of the way for good goes or comes back, and what
// it had begun to change in place is no conflict. Precondition: nobody else works on
// the sandbox.
func (v *View) Recover() error {
	if v.Host < 0 || v.Fixed {
		return nil
	}
	text, e := sys.ReadXattr(v.Upper, "", stepXattr)
	if e != 0 {
		return nil
	}
	if s, ok := parseStep(string(text)); ok {
		if err := v.recoverStep(&s); err != nil {
			return fmt.Errorf("a commit was killed at %s, and what it left can't be removed: %w", Quote(s.path), err)
		}
	}
	_ = sys.RemoveXattr(v.Upper, "", stepXattr)
	return nil
}

func (v *View) recoverStep(s *step) error {
	a := &apply{v: v}
	dirfd, name, e := a.parent(s.path)
	if e != 0 {
		return nil // it is gone, and what was in it
	}
	defer sys.Close(dirfd)
	if sys.Exists(dirfd, oldName(s.tmp)) && !sys.Exists(dirfd, name) { // between two renames
		if e := sys.Rename(dirfd, oldName(s.tmp), dirfd, name, 0); e != 0 {
			return e
		}
	}
	for _, n := range []string{s.tmp, oldName(s.tmp)} {
		if err := v.remove(dirfd, n, s.path); err != nil {
			return err
		}
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) != 0 || st.Ino != s.ino {
		return nil
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || s.size == st.Size && s.mtime == st.Mtim.Nano() {
		v.rebase(s.path, &st)
	}
	return nil
}

// rebase notes in the upper what its object has on the host by now.
func (v *View) rebase(p string, st *sys.Stat) {
	fd, e := beneath(v.Upper, p, unix.O_PATH)
	if e != 0 {
		return
	}
	defer sys.Close(fd)
	b := dialect.Base{Ino: st.Ino, Size: uint64(st.Size), Mode: st.Mode, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}
	had, _ := sys.ReadXattr(fd, "", dialect.BaseXattr)
	_ = sys.SetXattr(fd, "", dialect.BaseXattr, dialect.AddBase(had, b), 0)
}
