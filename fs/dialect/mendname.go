package dialect

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// look sees what is to be done with an entry, its xattrs aside. It says whether
// the entry stays, so that its xattrs are of interest.
func (m *mender) look(l *level, name string, st *sys.Stat) bool {
	typ := st.Mode & unix.S_IFMT
	switch {
	case typ == unix.S_IFCHR && st.Rdev == 0:
		// fuse-overlayfs leaves this one where it marks directories.
		if l.pure && !(name == ".wh..opq" && m.To != ToKernel && m.To != ToUserXattr) {
			l.plan(name, WhiteoutInOpaque, "removed", unlink(name))
		}
		return false
	case typ == unix.S_IFREG && st.Size == 0 && l.xwh && m.isWhiteout(l, name):
		switch {
		case l.pure:
			l.plan(name, WhiteoutInOpaque, "removed", unlink(name))
		case m.To != ToEach:
			l.plan(name, WhiteoutXattr, "a device now", func(l *level) (string, error) {
				e := m.replace(l, name)
				l.kept = l.kept || e != 0
				return "", nilOr(e)
			})
		}
		return false
	}
	target, kind := ParseDotWh(name)
	switch kind {
	case DotWhWhiteout:
		m.dotWh(l, name, target)
	case DotWhOpaque:
		if m.To == ToFuse {
			if _, e := sys.GetXattr(l.fd, "", FuseOpaque, nil); e != 0 {
				l.planXattr(name, OpaqueFile, FuseOpaque+" as well", func(l *level) syscall.Errno {
					return sys.SetXattr(l.fd, "", FuseOpaque, []byte("y"), 0)
				})
			}
		}
		if m.To == ToKernel || m.To == ToUserXattr {
			l.plan(name, OpaqueFile, m.ns().Opaque()+" now", func(l *level) (string, error) {
				if e := m.markOpaque(l.fd, ""); e != 0 {
					return "", e
				}
				fail.Point("fsck.marked")
				return m.takeAway(l, name)
			})
		}
	case DotWhMeta:
		if m.To != ToEach {
			l.plan(name, AUFSMeta, "taken away: it has no meaning", func(l *level) (string, error) { return m.takeAway(l, name) })
		}
	default:
		return true
	}
	return false
}

// dotWh sees to a file that deletes target.
func (m *mender) dotWh(l *level, name, target string) {
	var ts sys.Stat
	there := sys.StatAt(l.fd, target, &ts) == 0
	switch {
	case there:
		l.plan(name, Conflict, "taken away: "+strconv.Quote(target)+" is there, without what was below it", func(l *level) (string, error) {
			if ts.Mode&unix.S_IFMT == unix.S_IFDIR {
				if e := m.markOpaque(l.fd, target); e != 0 {
					return "", e
				}
				fail.Point("fsck.marked")
			}
			return m.takeAway(l, name)
		})
	case l.pure:
		l.plan(name, WhiteoutInOpaque, "taken away", func(l *level) (string, error) { return m.takeAway(l, name) })
	case m.To != ToEach:
		l.plan(name, WhiteoutFile, "a device now", func(l *level) (string, error) {
			if e := sys.Mknod(l.fd, target, unix.S_IFCHR, 0); e != 0 {
				return "", e
			}
			fail.Point("fsck.marked")
			return m.takeAway(l, name)
		})
	}
}

func unlink(name string) func(l *level) (string, error) {
	return func(l *level) (string, error) { return "", nilOr(sys.Unlink(l.fd, name)) }
}

// isWhiteout says whether an empty file of a directory that may have such is a
// whiteout.
func (m *mender) isWhiteout(l *level, name string) bool {
	for _, ns := range [...]NS{NSTrusted, NSUser} {
		if _, e := sys.GetXattr(l.fd, name, ns.Whiteout(), nil); e == 0 {
			return true
		}
	}
	return false
}

// replace puts a whiteout device in the place of name, in one step.
func (m *mender) replace(l *level, name string) syscall.Errno {
	stage, e := m.staging()
	if e != 0 {
		return e
	}
	const tmp = "#fsck"
	if e := sys.Mknod(stage, tmp, unix.S_IFCHR, 0); e != 0 && e != unix.EEXIST {
		return e
	}
	fail.Point("fsck.staged")
	if e := sys.Rename(stage, tmp, l.fd, name, 0); e != 0 {
		_ = sys.Unlink(stage, tmp)
		return e
	}
	return 0
}

// staging is where an object is made before it gets its name: the work
// directory, else lost+found.
func (m *mender) staging() (int, syscall.Errno) {
	if m.stage >= 0 {
		return m.stage, 0
	}
	e := unix.ENOENT
	if m.Work >= 0 {
		m.stage, e = openWork(m.Work)
	}
	if e == unix.ENOENT {
		m.stage, e = m.lost.open()
	}
	if e != 0 {
		m.stage = -1
	}
	return m.stage, e
}

// openWork opens work/, to which the kernel gives mode 0.
func openWork(dirfd int) (int, syscall.Errno) {
	fd, e := sys.Open(dirfd, "work", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e == unix.EACCES {
		if e = sys.Chmod(dirfd, "work", 0o700); e == 0 {
			fd, e = sys.Open(dirfd, "work", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
	}
	return fd, e
}

// takeAway removes what holds nothing, and moves everything else to lost+found.
func (m *mender) takeAway(l *level, name string) (lost string, err error) {
	var st sys.Stat // now: of two names of a file the first may be gone
	if e := sys.StatAt(l.fd, name, &st); e != 0 {
		return "", e
	}
	empty := func() syscall.Errno { return unix.ENOTEMPTY }
	switch typ := st.Mode & unix.S_IFMT; {
	case typ == unix.S_IFDIR:
		empty = func() syscall.Errno { return sys.Rmdir(l.fd, name) }
	case typ == unix.S_IFREG && (st.Size == 0 || st.Nlink > 1), // the data have another name
		typ == unix.S_IFCHR, typ == unix.S_IFBLK, typ == unix.S_IFIFO, typ == unix.S_IFSOCK:
		empty = func() syscall.Errno { return sys.Unlink(l.fd, name) }
	}
	if e := empty(); e != unix.ENOTEMPTY && e != unix.EEXIST {
		return "", nilOr(e)
	}
	return m.lost.take(l.fd, name, m.c.join(name))
}
