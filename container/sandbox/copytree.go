package sandbox

import (
	"fmt"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// copier copies an upper as it is: whiteouts, xattrs, hard links, times. Data is
// shared where the file system can do that.
type copier struct {
	links map[uint64]string // inode with several names: the path of its first copy
}

// copyTree copies the tree at (from, name) to (to, as), which must not exist.
func copyTree(from int, name string, to int, as string) error {
	c := copier{links: map[uint64]string{}}
	return c.tree(from, name, to, as, -1, "")
}

// tree copies a directory with what is in it. top is the copy's root, -1 when
// this directory is to be it; p the path in it.
func (c *copier) tree(from int, name string, to int, as string, top int, p string) error {
	a, e := sys.Open(from, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return failed("opening", where(name, p), e)
	}
	defer sys.Close(a)
	if e := sys.Mkdir(to, as, 0o700); e != 0 {
		return failed("making", where(as, p), e)
	}
	b, e := sys.Open(to, as, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return failed("opening", where(as, p), e)
	}
	defer sys.Close(b)
	if top < 0 {
		top = b
	}
	return c.dir(a, b, top, p)
}

// where names a directory in an error: by its path, the tree's root by its name.
func where(name, p string) string {
	if p == "" {
		return name
	}
	return p
}

// dir copies what is in a directory, and then its attributes. top is the copy's
// root, p the path in it.
func (c *copier) dir(from, to, top int, p string) error {
	names, err := listNames(from)
	if err != nil {
		return fmt.Errorf("reading %s: %w", p, err)
	}
	for _, n := range names {
		if err := c.one(from, to, top, n, path.Join(p, n)); err != nil {
			return err
		}
	}
	var st sys.Stat
	if e := sys.StatFD(from, &st); e != 0 {
		return failed("looking at", p, e)
	}
	if e := copyAttrs(from, "", to, "", &st); e != 0 {
		return failed("copying the attributes of", p, e)
	}
	return nil
}

func (c *copier) one(from, to, top int, name, p string) error {
	var st sys.Stat
	if e := sys.StatAt(from, name, &st); e != 0 {
		return failed("looking at", p, e)
	}
	typ := st.Mode & unix.S_IFMT
	if typ != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := c.links[st.Ino]; ok {
			if e := again(top, first, to, name); e == 0 {
				return nil
			} else if e != unix.EMLINK { // with too many links a new file begins, as in the original
				return failed("linking", p, e)
			}
		}
		c.links[st.Ino] = p
	}
	if typ == unix.S_IFDIR {
		return c.tree(from, name, to, name, top, p)
	}
	if e := c.object(from, to, name, typ, &st); e != 0 {
		return failed("copying", p, e)
	}
	if e := copyAttrs(from, name, to, name, &st); e != 0 {
		return failed("copying the attributes of", p, e)
	}
	return nil
}

// again makes another name of a file that was copied.
func again(top int, first string, to int, name string) syscall.Errno {
	dirfd, e := beneath(top, path.Dir(first), unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer sys.Close(dirfd)
	return sys.Link(dirfd, path.Base(first), to, name)
}

// object copies what is no directory, without its attributes.
func (c *copier) object(from, to int, name string, typ uint32, st *sys.Stat) syscall.Errno {
	switch typ {
	case unix.S_IFREG:
		src, e := sys.Open(from, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if e != 0 {
			return e
		}
		defer sys.Close(src)
		dst, e := sys.Open(to, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
		if e != 0 {
			return e
		}
		defer sys.Close(dst)
		_, e = sys.CopyFile(dst, src, st.Size, nil)
		return e
	case unix.S_IFLNK:
		t, e := sys.Readlink(from, name)
		if e != 0 {
			return e
		}
		return sys.Symlink(t, to, name)
	}
	return sys.Mknod(to, name, typ|0o600, encodeDev(uint64(st.Rdev)))
}

// copyAttrs copies owner, xattrs, mode and times, in the order in which none
// undoes another.
func copyAttrs(from int, name string, to int, as string, st *sys.Stat) syscall.Errno {
	var have sys.Stat
	if e := sys.StatAt(to, as, &have); e != 0 {
		return e
	}
	if have.Uid != st.Uid || have.Gid != st.Gid {
		if e := sys.Chown(to, as, int(st.Uid), int(st.Gid)); e != 0 {
			return e
		}
	}
	list, e := sys.ListXattrs(from, name)
	if e != 0 && e != unix.EOPNOTSUPP {
		return e
	}
	for _, attr := range splitNul(list) {
		v, e := sys.ReadXattr(from, name, attr)
		if e == unix.ENODATA {
			continue
		}
		if e == 0 {
			e = sys.SetXattr(to, as, attr, v, 0)
		}
		if e == unix.EPERM && attr == "security.selinux" {
			continue
		}
		if e != 0 {
			return e
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if e := sys.Chmod(to, as, st.Mode&0o7777); e != 0 {
			return e
		}
	}
	if as == "" {
		return sys.UtimesFD(to, st.Atim, st.Mtim)
	}
	return sys.Utimes(to, as, st.Atim, st.Mtim)
}
