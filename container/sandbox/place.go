package sandbox

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// place puts an object that is no directory on the host, complete, by one
// rename (or one link, where nothing was).
func (a *apply) place(c *Change, dirfd int, name string) error {
	if c.LinkTo != "" && (a.placed[c.LinkTo] || a.isThere(c.LinkTo)) {
		return a.link(c, dirfd, name)
	}
	if c.node.file() {
		return a.placeFile(c, dirfd, name)
	}
	tmp := a.tmp
	var err error
	if c.node.typ() == unix.S_IFLNK {
		if e := sys.Symlink(c.node.target, dirfd, tmp); e != 0 {
			return e
		}
	} else if e := sys.Mknod(dirfd, tmp, c.node.typ()|0o600, encodeDev(c.node.rdev)); e != 0 {
		return fmt.Errorf("making a %s: %w", c.Type, e)
	}
	fail.Point("sandbox.made")
	if err = a.setAttrs(c, dirfd, tmp, c.before); err == nil {
		err = a.into(c, dirfd, tmp, name)
	}
	if err != nil {
		_ = sys.Unlink(dirfd, tmp)
	}
	return err
}

// isThere says that the host's file is what the upper has: an earlier commit, one
// that was killed perhaps, has put it there, or nothing has changed in it.
func (a *apply) isThere(p string) bool {
	host, name, e := a.parent(p)
	if e != 0 {
		return false
	}
	defer sys.Close(host)
	up, e := beneath(a.v.Upper, path.Dir(p), unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return false
	}
	defer sys.Close(up)
	old, e := hostObject(host, name)
	if e != 0 {
		return false
	}
	o, e := a.v.upperObject(up, name)
	return e == 0 && o.typ() == old.typ() && len(a.v.differences(o, old, up, host, name)) == 0
}

// encodeDev is the kernel's new_encode_dev.
func encodeDev(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

// placeFile copies a regular file. It has no name until it is complete, where
// the file system can do that: whoever kills us then leaves nothing.
func (a *apply) placeFile(c *Change, dirfd int, name string) error {
	src, e := beneath(a.v.Upper, c.Path, unix.O_RDONLY|unix.O_NONBLOCK)
	if e != 0 {
		return fmt.Errorf("in the sandbox: %w", e)
	}
	defer sys.Close(src)
	tmp, named := a.tmp, false
	fd, e := sys.OpenTmp(dirfd, unix.O_RDWR, 0o600)
	if e == unix.EOPNOTSUPP || e == unix.EISDIR || e == unix.EINVAL || e == unix.ENOENT {
		fd, e = sys.Open(dirfd, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
		named = true
	}
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	err := a.fillFile(c, fd, src, dirfd)
	fail.Point("sandbox.copied")
	if err == nil && !named {
		if e := sys.LinkFD(fd, dirfd, tmp); e != 0 {
			return e
		}
		named = true
	}
	if err == nil {
		fail.Point("sandbox.named")
		if err = a.unchanged(c, dirfd, name); err == nil {
			err = a.into(c, dirfd, tmp, name)
		}
	}
	if err != nil && named {
		_ = sys.Unlink(dirfd, tmp)
	}
	if err == nil {
		fail.Point("sandbox.placed")
		a.rebase(c, dirfd, name)
	}
	return err
}

// fillFile gives the new file its data and attributes, and syncs it.
func (a *apply) fillFile(c *Change, fd, src, dirfd int) error {
	if _, e := sys.CopyFile(fd, src, c.node.st.Size, nil); e != 0 {
		return fmt.Errorf("copying: %w", e)
	}
	if err := a.attrs(c, fd, "", dirfd, c.before); err != nil {
		return err
	}
	if e := sys.UtimesFD(fd, c.node.st.Atim, c.node.st.Mtim); e != 0 {
		return fmt.Errorf("setting its times: %w", e)
	}
	if e := sys.Fsync(fd); e != 0 {
		return fmt.Errorf("syncing: %w", e)
	}
	return nil
}

// link gives a file that is on the host already another name.
func (a *apply) link(c *Change, dirfd int, name string) error {
	from, first, e := a.parent(c.LinkTo)
	if e != 0 {
		return e
	}
	defer sys.Close(from)
	tmp := a.tmp
	if e := sys.Link(from, first, dirfd, tmp); e != 0 {
		return fmt.Errorf("linking it to %s: %w", Quote(c.LinkTo), e)
	}
	fail.Point("sandbox.named")
	err := a.into(c, dirfd, tmp, name)
	// Of two links of one file a rename leaves both.
	_ = sys.Unlink(dirfd, tmp)
	a.rebase(c, dirfd, name)
	return err
}

// into gives a finished object its name.
func (a *apply) into(c *Change, dirfd int, tmp, name string) error {
	switch {
	case c.Kind == Replaced:
		return a.swap(c, dirfd, tmp, name)
	case c.Kind == Added && !a.force:
		e := sys.Rename(dirfd, tmp, dirfd, name, unix.RENAME_NOREPLACE)
		if e == unix.EEXIST {
			return errors.New("the host has made it meanwhile")
		}
		if e != unix.EINVAL {
			return asError(e)
		}
		if sys.Exists(dirfd, name) { // NFS has no such flag
			return errors.New("the host has made it meanwhile")
		}
	}
	e := sys.Rename(dirfd, tmp, dirfd, name, 0)
	if e == unix.EBUSY {
		return errors.New("something is mounted on it")
	}
	return asError(e)
}

func asError(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// setAttrs gives an object at a name the owner, mode, xattrs and times that
// the change wants.
func (a *apply) setAttrs(c *Change, dirfd int, name string, old *object) error {
	if err := a.attrs(c, dirfd, name, dirfd, old); err != nil {
		return err
	}
	if c.Kind != Changed || c.has(target) || c.has(device) {
		if e := sys.Utimes(dirfd, name, c.node.st.Atim, c.node.st.Mtim); e != 0 {
			return fmt.Errorf("setting its times: %w", e)
		}
	}
	a.rebase(c, dirfd, name)
	return nil
}

// dirAttrs is setAttrs for a directory, when all that belongs into it is there.
func (a *apply) dirAttrs(c *Change) error {
	dirfd, name, e := a.parent(c.Path)
	if e != 0 {
		return e
	}
	defer sys.Close(dirfd)
	if err := a.setAttrs(c, dirfd, name, c.before); err != nil {
		return fmt.Errorf("%s: %w", path.Base(c.Path), err)
	}
	return nil
}

// attrs sets owner, xattrs and mode of (dirfd, name), which is new or is to
// be changed in place. What the sandbox could not see of a file that was there
// is taken over from it.
func (a *apply) attrs(c *Change, dirfd int, name string, parent int, old *object) error {
	var st sys.Stat
	if e := sys.StatAt(dirfd, name, &st); e != 0 {
		return e
	}
	uid, gid := a.ownerOf(c, &st, parent, old)
	if uid != st.Uid || gid != st.Gid {
		if e := sys.Chown(dirfd, name, int(uid), int(gid)); e != 0 {
			return fmt.Errorf("it can't be given to %d:%d (%w): commit it as root, or leave it out", uid, gid, e)
		}
	}
	if c.node.typ() == unix.S_IFLNK {
		return nil
	}
	fail.Point("sandbox.owned")
	if err := a.copyXattrs(c, dirfd, name, old); err != nil {
		return err
	}
	if e := sys.Chmod(dirfd, name, c.node.mode&0o7777); e != 0 {
		return fmt.Errorf("setting its mode: %w", e)
	}
	fail.Point("sandbox.moded")
	return nil
}

// ownerOf is who an object is to belong to on the host. In a sandbox of one id
// everything was root's: what was there keeps its owner, and what is new is
// the user's; when root commits, it is whose the directory is.
func (a *apply) ownerOf(c *Change, st *sys.Stat, parent int, old *object) (uid, gid uint32) {
	switch {
	case c.node.owned:
		return c.node.uid, c.node.gid
	case c.Kind == Changed && old != nil:
		return old.uid, old.gid
	case privileged():
		var dir sys.Stat
		if sys.StatAt(parent, "", &dir) == 0 {
			return dir.Uid, dir.Gid
		}
	}
	return st.Uid, st.Gid
}

// copyXattrs gives the object the xattrs of the change. For a new copy of a
// file that was there, those that the sandbox does not handle come from it.
func (a *apply) copyXattrs(c *Change, dirfd int, name string, old *object) error {
	upfd, e := beneath(a.v.Upper, c.Path, unix.O_PATH)
	if e != 0 {
		return fmt.Errorf("in the sandbox: %w", e)
	}
	defer sys.Close(upfd)
	want, ok := a.v.readXattrs(upfd, "", true)
	if !ok {
		return errors.New("its xattrs in the sandbox can't be read")
	}
	if old != nil && c.Kind == Changed {
		a.inherit(c, dirfd, name)
	}
	have, _ := a.v.readXattrs(dirfd, name, false)
	for k := range have {
		if _, ok := want[k]; !ok {
			_ = sys.RemoveXattr(dirfd, name, k)
		}
	}
	for k, v := range want {
		if e := sys.SetXattr(dirfd, name, k, v, 0); e != 0 {
			return fmt.Errorf("setting its xattr %s: %w", k, e)
		}
	}
	return nil
}

// inherit copies what the sandbox leaves alone (labels, and ACLs where it has
// but one id) from the host's file to its successor, as far as we may.
func (a *apply) inherit(c *Change, dirfd int, name string) {
	from, old, e := a.parent(c.Path)
	if e != 0 {
		return
	}
	defer sys.Close(from)
	list, e := sys.ListXattrs(from, old)
	if e != 0 {
		return
	}
	for _, attr := range splitNul(list) {
		if a.v.compares(attr) {
			continue
		}
		if v, e := sys.ReadXattr(from, old, attr); e == 0 {
			_ = sys.SetXattr(dirfd, name, attr, v, 0)
		}
	}
}
