package oracle

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Result is what an operation showed: an errno's name or "ok", then whatever
// it returned, then what stat says of the names afterwards.
type Result struct {
	Errno  string
	Detail string
	After  string
}

// String is the result on one line.
func (r Result) String() string {
	return strings.TrimSpace(r.Errno + " " + r.Detail + r.After)
}

// TakeThread ties the calling goroutine to its thread for good and gives the
// thread its own umask and no supplementary groups: operations are played as
// different users, which Linux keeps by thread.
func TakeThread() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("a umask of the thread's own: %w", err)
	}
	// Refused in a user namespace of one user, where there are no others
	// to play anyway.
	_, _, _ = unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
	return nil
}

// Play does the operation on one side. Only a thread of TakeThread's may.
func (s *Side) Play(o *Op) Result {
	unix.Umask(int(o.Umask))
	if o.As != 0 {
		_ = unix.Setfsgid(int(o.As))
		_ = unix.Setfsuid(int(o.As))
	}
	detail, err := s.do(o)
	if o.As != 0 {
		_ = unix.Setfsuid(0)
		_ = unix.Setfsgid(0)
	}
	unix.Umask(0)
	r := Result{Errno: treedump.ErrName(err), Detail: detail}
	if !o.Blind {
		r.After = s.look(o)
	}
	return r
}

func (s *Side) do(o *Op) (string, error) {
	switch o.Kind {
	case opCreate, opWrite, opAppend, opOpenTrunc, opTruncate, opGone, opFallocate, opMmap, opCopy, opTmpfile, opRead:
		return s.doFile(o)
	case opOpen, opHeldRead, opHeldWrite, opHeldTrunc, opHeldStat, opHeldChmod, opHeldSync, opHeldClose:
		return s.doHeld(o)
	case opStat, opReaddir:
		return s.doLook(o)
	}
	return "", s.doName(o)
}

// doName does what changes names or attributes and returns only an errno.
func (s *Side) doName(o *Op) error {
	p, to := s.path(o.Path), s.path(o.To)
	switch o.Kind {
	case opUnlink:
		return unix.Unlink(p)
	case opMkdir:
		return unix.Mkdir(p, o.Mode)
	case opRmdir:
		return unix.Rmdir(p)
	case opRename:
		return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, to, uint(o.Flags))
	case opLink:
		return unix.Link(p, to)
	case opSymlink:
		return unix.Symlink(o.Value, p)
	case opMknod:
		return unix.Mknod(p, uint32(o.Flags)|o.Mode, int(o.Len))
	case opChmod:
		return unix.Fchmodat(unix.AT_FDCWD, p, o.Mode, 0)
	case opChown:
		return unix.Lchown(p, o.UID, o.GID)
	case opUtimens:
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{when(o.Sec[0]), when(o.Sec[1])}, unix.AT_SYMLINK_NOFOLLOW)
	case opSetxattr:
		return unix.Lsetxattr(p, o.Name, []byte(o.Value), o.Flags)
	case opDelxattr:
		return unix.Lremovexattr(p, o.Name)
	}
	panic("no such operation: " + string(o.Kind))
}

// Values of Op.Sec that are no time.
const (
	timeNow  = -1
	timeOmit = -2
)

func when(sec int64) unix.Timespec {
	switch sec {
	case timeNow:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case timeOmit:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.NsecToTimespec(sec*1e9 + 987654321) // its fields have other types on other processors
}

// doLook reads attributes or a directory.
func (s *Side) doLook(o *Op) (string, error) {
	if o.Kind == opStat {
		var st unix.Stat_t
		err := unix.Stat(s.path(o.Path), &st) // through symlinks
		return statText(&st, err), err
	}
	ents, err := treedump.ReadDir(s.path(o.Path))
	var b strings.Builder
	for _, e := range ents {
		var st unix.Stat_t
		gone := ""
		if (e.Type == unix.DT_CHR || e.Type == unix.DT_REG) && unix.Lstat(s.path(path.Join(o.Path, e.Name)), &st) != nil {
			gone = listedOnly
		}
		fmt.Fprintf(&b, "%s:%d%s ", short(e.Name), e.Type, gone)
	}
	return b.String(), err
}

// listedOnly marks a name that readdir lists and stat does not find: a whiteout,
// of either form.
const listedOnly = "(gone)"

// look is what stat says of the operation's names and their directories.
func (s *Side) look(o *Op) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, p := range []string{o.Path, o.To} {
		if p == "" {
			continue
		}
		for _, q := range []string{p, path.Dir(p)} {
			if seen[q] {
				continue
			}
			seen[q] = true
			var st unix.Stat_t
			err := unix.Lstat(s.path(q), &st)
			fmt.Fprintf(&b, "; %s: %s", short(q), statText(&st, err))
		}
	}
	return b.String()
}

// statText leaves out what two filesystems may count differently: inode
// numbers, and sizes and link counts of directories.
func statText(st *unix.Stat_t, err error) string {
	if err != nil {
		return treedump.ErrName(err)
	}
	text := fmt.Sprintf("%s %04o %d:%d %s", treedump.TypeName(st.Mode), st.Mode&0o7777, st.Uid, st.Gid, treedump.TimeText(st.Mtim))
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		text += fmt.Sprintf(" size=%d nlink=%d rdev=%#x", st.Size, st.Nlink, st.Rdev)
	}
	return text
}
