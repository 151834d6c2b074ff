package dialect

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// work tidies a work directory: temporaries that hold nothing are removed, and
// the others moved to lost+found. A mount would delete them.
func (m *mender) work() {
	m.tidy(m.Work, "", isDecimal)
	fd, e := openWork(m.Work)
	if e == unix.ENOENT {
		return
	}
	if e != 0 {
		m.report("work", Leftover, "cannot be looked into", "", e)
		return
	}
	defer sys.Close(fd)
	m.tidy(fd, "work", func(name string) bool { return name != "incompat" })
}

// tidy takes away what is a leftover in a directory; under is its name.
func (m *mender) tidy(dirfd int, under string, leftover func(name string) bool) {
	fd, e := sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		m.report(under, Leftover, "cannot be looked into", "", e)
		return
	}
	defer sys.Close(fd)
	var names []string
	e = sys.ReadDir(fd, make([]byte, smallBatch), func(name string, _ uint64, _ uint8) bool {
		if leftover(name) {
			names = append(names, string([]byte(name)))
		}
		return true
	})
	if e != 0 {
		m.report(under, Leftover, "cannot be read", "", e)
	}
	if under != "" {
		m.c.path = []string{under}
		defer func() { m.c.path = nil }()
	}
	l := &level{fd: fd}
	for _, name := range names {
		fail.Point("fsck.fix")
		lost, err := m.takeAway(l, name)
		m.report(name, Leftover, "taken away", lost, err)
	}
}

// LostFound is the name of the directory that Mend moves things to.
const LostFound = "lost+found"

// lostFound is that directory, made when it is needed.
type lostFound struct {
	beside, fd int
	used       bool
	next       int
}

func (f *lostFound) open() (int, syscall.Errno) {
	if f.fd >= 0 {
		return f.fd, 0
	}
	if e := sys.Mkdir(f.beside, LostFound, 0o700); e != 0 && e != unix.EEXIST {
		return -1, e
	}
	fd, e := sys.Open(f.beside, LostFound, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if e == 0 {
		f.fd = fd
	}
	return fd, e
}

// maxLostName leaves room for a number.
const maxLostName = 200

// take moves an object there, under a name that tells where it was, and never
// over another.
func (f *lostFound) take(dirfd int, name, path string) (string, error) {
	fd, e := f.open()
	if e != 0 {
		return "", e
	}
	was := strings.ReplaceAll(path, "/", "!")
	if len(was) > maxLostName {
		was = was[len(was)-maxLostName:]
	}
	for ; ; f.next++ {
		to := strconv.Itoa(f.next) + "-" + was
		e := sys.Rename(dirfd, name, fd, to, unix.RENAME_NOREPLACE)
		if e == unix.EINVAL && !sys.Exists(fd, to) { // a file system that doesn't know the flag
			e = sys.Rename(dirfd, name, fd, to, 0)
		}
		switch e {
		case 0:
			fail.Point("fsck.moved")
			f.used = true
			return LostFound + "/" + to, nil
		case unix.EEXIST:
			continue
		case unix.EXDEV:
			return "", errKept("the directory beside is on another file system: move it away by hand")
		}
		return "", e
	}
}

// close removes the directory again if nothing is in it.
func (f *lostFound) close(stage int) {
	if f.fd < 0 {
		return
	}
	_ = sys.Unlink(f.fd, "#fsck")
	sys.Close(f.fd)
	_ = sys.Rmdir(f.beside, LostFound)
}
