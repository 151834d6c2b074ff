package dialect

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Summary is what Check says of an upper as a whole.
type Summary struct {
	Dialect  Dialect
	Worst    Severity
	Kinds    [numKinds]uint64 // findings by Kind
	Dirs     uint64           // directories, the upper itself included
	Files    uint64           // everything else but whiteouts
	Copied   uint64           // objects with an origin: copied up from a lower layer
	Escaped  uint64           // xattrs of overlays inside the mount
	Override string           // the name of the override_stat on the upper itself, "" = none

	// TrustedUnseen says that trusted.* xattrs could not be seen for want of
	// CAP_SYS_ADMIN in the initial user namespace: Dialect may be wrong.
	TrustedUnseen bool
}

// checker is one run of Check.
type checker struct {
	report func(Finding)
	sum    Summary
	marks  marks
	inWork bool
	mend   *mender // nil: nothing is changed

	path   []string // names from the top to the directory that is being read
	mount  uint64   // mount id of the upper; 0 where the kernel doesn't say
	dev    uint64
	lost   [3]bool // OverrideIgnored was reported, by index in overrideNames
	list   []byte  // listxattr
	value  []byte  // getxattr
	direnv []byte  // getdents
}

// The kernel's limits on what one object's xattrs can be.
const (
	xattrListMax = 64 << 10
	xattrSizeMax = 64 << 10
)

var overrideNames = [3]string{OverridePrivileged, OverrideUser, OverrideUserLegacy}

// Check walks the upper directory upper (a descriptor; O_PATH will do) and
// its work directory work (-1 = not known) and reports what it finds, parents
// before children. It writes nothing, follows no symbolic link, stays on the
// upper's mount and takes little memory however large or deep the tree is.
// An error means that the walk could not go on; what could not be read is a
// finding. A mount on these directories should not be in use meanwhile: what
// changes under the walk may be missed.
func Check(upper, work int, report func(Finding)) (Summary, error) {
	c := &checker{
		report: report,
		list:   make([]byte, xattrListMax),
		value:  make([]byte, xattrSizeMax),
		direnv: make([]byte, bigBatch),
	}
	c.sum.TrustedUnseen = !seesTrusted()
	fd, e := sys.Open(upper, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return c.sum, &os.PathError{Op: "open", Path: "upper directory", Err: e}
	}
	err := c.walk(fd)
	if err == nil && work >= 0 {
		c.inWork, c.path = true, nil
		c.checkWork(work)
	}
	c.sum.Dialect = c.marks.dialect()
	return c.sum, err
}

// seesTrusted says whether listxattr(2) shows this process trusted.*.
func seesTrusted() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	// The initial user namespace's inode number is fixed: PROC_USER_INIT_INO.
	ns, err := os.Readlink("/proc/self/ns/user")
	return err == nil && ns == "user:[4026531837]"
}

// add reports a finding on name in the directory that is being read; "" is
// that directory itself.
func (c *checker) add(name string, k Kind, s Severity, detail string) {
	c.sum.Kinds[k]++
	c.sum.Worst = max(c.sum.Worst, s)
	if c.report != nil {
		c.report(Finding{Path: c.join(name), InWork: c.inWork, Kind: k, Severity: s, Detail: detail})
	}
}

// entry looks at one directory entry and says whether to walk into it.
func (c *checker) entry(l *level, name string) (walk bool) {
	var st sys.Stat
	switch e := sys.StatAt(l.fd, name, &st); e {
	case 0:
	case unix.ENOENT:
		return false // gone meanwhile
	default:
		c.add(name, Unreadable, SevError, e.Error())
		return false
	}
	if c.mend != nil && c.mend.look(l, name, &st) && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.mend.lookXattrs(l, name, &st)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		// Whatever it is called: fuse-overlayfs leaves a device named
		// .wh..opq in directories that it makes opaque.
		c.whiteout(l, name, WhiteoutChar, SevInfo, "")
		return false
	}
	c.dotWh(l, name, &st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if m := sys.MountID(l.fd, name); m != c.mount || uint64(st.Dev) != c.dev {
			c.add(name, MountPoint, SevWarning, "another mount, not looked into")
			return false
		}
		return true
	case unix.S_IFCHR:
		c.add(name, SpecialFile, SevInfo, "character device")
	case unix.S_IFBLK:
		c.add(name, SpecialFile, SevInfo, "block device")
	case unix.S_IFIFO:
		c.add(name, SpecialFile, SevInfo, "fifo")
	case unix.S_IFSOCK:
		c.add(name, SpecialFile, SevInfo, "socket")
	}
	c.sum.Files++
	c.xattrs(l, name, &st)
	return false
}

// dotWh looks at an entry's name.
func (c *checker) dotWh(l *level, name string, st *sys.Stat) {
	target, kind := ParseDotWh(name)
	if kind == DotWhNone {
		return
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		c.add(name, Misplaced, SevWarning, "a .wh. name on what is not a regular file")
	}
	switch kind {
	case DotWhWhiteout:
		c.marks |= markDotWh
		c.whiteout(l, name, WhiteoutFile, SevWarning, "deletes "+strconv.Quote(target)+"; the kernel shows it as a file")
		if sys.Exists(l.fd, target) {
			c.add(name, Conflict, SevWarning, strconv.Quote(target)+" is deleted and there")
		}
	case DotWhOpaque:
		// The mark was taken note of when the directory was entered.
		c.add(name, OpaqueFile, SevWarning, "the kernel shows it as a file")
	case DotWhMeta:
		c.marks |= markDotWh
		c.add(name, AUFSMeta, SevWarning, "hidden, no meaning; the kernel shows it as a file")
	}
}

// whiteout reports a whiteout, and a second time where it hides nothing.
func (c *checker) whiteout(l *level, name string, k Kind, s Severity, detail string) {
	c.add(name, k, s, detail)
	if l.pure {
		c.add(name, WhiteoutInOpaque, SevWarning, "nothing below to hide; the kernel lists the name and can't stat it")
	}
}
