package sandbox

import (
	"bytes"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
)

// object is what is at a name, in the upper or on the host.
type object struct {
	st       sys.Stat
	mode     uint32 // with its type, as the users of the view saw it
	uid, gid uint32
	owned    bool // the owner was given in the sandbox, or is kept in the inode
	rdev     uint64
	target   string
	bases    []dialect.Base
}

// base is the record of the host's object with this inode number, nil when
// the upper object did not take its place.
func (o *object) base(ino uint64) *dialect.Base {
	for i := range o.bases {
		if o.bases[i].Ino == ino {
			return &o.bases[i]
		}
	}
	return nil
}

func (o *object) typ() uint32 { return o.mode & unix.S_IFMT }
func (o *object) dir() bool   { return o.typ() == unix.S_IFDIR }
func (o *object) file() bool  { return o.typ() == unix.S_IFREG }

// hostObject looks at an object of the host.
func hostObject(dirfd int, name string) (*object, syscall.Errno) {
	o := &object{owned: true}
	if e := sys.StatAt(dirfd, name, &o.st); e != 0 {
		return nil, e
	}
	o.mode, o.uid, o.gid, o.rdev = o.st.Mode, o.st.Uid, o.st.Gid, uint64(o.st.Rdev)
	if o.typ() == unix.S_IFLNK {
		t, e := sys.Readlink(dirfd, name)
		if e != 0 {
			return nil, e
		}
		o.target = t
	}
	return o, 0
}

// upperObject looks at an object of the upper, whose owner and type may be
// kept as data.
func (v *View) upperObject(dirfd int, name string) (*object, syscall.Errno) {
	o, e := hostObject(dirfd, name)
	if e != 0 {
		return nil, e
	}
	if v.Virtual {
		o.uid, o.gid = 0, 0
	}
	if t := o.typ(); t == unix.S_IFREG || t == unix.S_IFDIR {
		if val, e := sys.ReadXattr(dirfd, name, dialect.BaseXattr); e == 0 {
			o.bases, _ = dialect.ParseBases(val) // a damaged one counts as none
		}
		if v.Virtual {
			v.override(dirfd, name, o)
		}
	}
	if v.Virtual {
		// Everything belongs to the one user there; only what was given away
		// says something.
		o.owned = o.uid != 0 || o.gid != 0
	}
	return o, 0
}

// override applies the record of virtual ownership.
func (v *View) override(dirfd int, name string, o *object) {
	var buf [128]byte
	n, e := sys.GetXattr(dirfd, name, dialect.OverrideUser, buf[:])
	if e != 0 {
		return
	}
	ov, err := dialect.ParseOverride(buf[:n])
	if err != nil {
		return
	}
	typ := o.typ()
	if t := ov.Mode & unix.S_IFMT; t != 0 && typ == unix.S_IFREG {
		typ, o.rdev = t, ov.Rdev
	}
	o.uid, o.gid, o.mode = ov.UID, ov.GID, typ|ov.Mode&0o7777
}

// whiteout says whether the upper object deletes its own name.
func whiteout(dirfd int, name string, st *sys.Stat) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return st.Rdev == 0
	case unix.S_IFREG:
		return st.Size == 0 && anyXattr(dirfd, name, dialect.NSUser.Whiteout(), dialect.NSTrusted.Whiteout())
	}
	return false
}

func anyXattr(dirfd int, name string, attrs ...string) bool {
	for _, a := range attrs {
		if _, e := sys.GetXattr(dirfd, name, a, nil); e == 0 {
			return true
		}
	}
	return false
}

// opaque says whether nothing of the lower shows in the upper directory fd.
func opaque(fd int) bool {
	var buf [16]byte
	for _, a := range []string{dialect.NSUser.Opaque(), dialect.NSTrusted.Opaque(), dialect.FuseOpaque} {
		if n, e := sys.GetXattr(fd, "", a, buf[:]); e == 0 && dialect.ParseOpaque(buf[:n]) == dialect.OpaqueYes {
			return true
		}
	}
	return sys.Exists(fd, dialect.DotWhOpaqueName)
}

// readXattrs reads the xattrs that users of the view could see and set. On the
// host side they are what they are; in the upper their names may be wrapped.
// ok is false when they can't be read.
func (v *View) readXattrs(dirfd int, name string, upper bool) (map[string][]byte, bool) {
	list, e := sys.ListXattrs(dirfd, name)
	if e == unix.EOPNOTSUPP {
		return nil, true
	}
	if e != 0 {
		return nil, false
	}
	form := layer.XattrPermNone
	if upper && v.Virtual {
		form = layer.XattrPermUser
	}
	found := map[string][]byte{}
	for len(list) > 0 {
		i := bytes.IndexByte(list, 0)
		if i < 0 {
			break
		}
		disk := string(list[:i])
		list = list[i+1:]
		client, ok := dialect.DiskToClient(disk, make([]byte, 0, sys.NameMax+1), form)
		if !ok || !v.compares(client) {
			continue
		}
		val, e := sys.ReadXattr(dirfd, name, disk)
		if e == unix.ENODATA {
			continue
		}
		if e != 0 {
			return nil, false
		}
		found[strings.Clone(client)] = val
	}
	return found, true
}

// compares says which xattrs belong to what a change is. Labels of security
// modules are the host's business. In a sandbox of one id, ACLs that name
// others can't be copied up: there they are kept as the host has them.
func (v *View) compares(attr string) bool {
	switch {
	case strings.HasPrefix(attr, "user."), attr == "security.capability":
		return true
	case v.Virtual:
		return false
	}
	return strings.HasPrefix(attr, "system.posix_acl_") || strings.HasPrefix(attr, "trusted.")
}

// differences says what of two objects of one type is not the same.
func (v *View) differences(up, host *object, upfd, hostfd int, name string) []string {
	var what []string
	add := func(w string) {
		if !slices.Contains(what, w) {
			what = append(what, w)
		}
	}
	switch up.typ() {
	case unix.S_IFREG:
		if !sameContent(up, host, upfd, hostfd, name) {
			add(content)
		}
	case unix.S_IFLNK:
		if up.target != host.target {
			add(target)
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if up.rdev != host.rdev {
			add(device)
		}
	}
	if up.typ() != unix.S_IFLNK && up.mode&0o7777 != host.mode&0o7777 {
		add(mode)
	}
	if up.owned && (up.uid != host.uid || up.gid != host.gid) {
		add(owner)
	}
	if t := up.st.Mode & unix.S_IFMT; t == unix.S_IFREG || t == unix.S_IFDIR {
		a, ok1 := v.readXattrs(upfd, name, true)
		b, ok2 := v.readXattrs(hostfd, name, false)
		if ok1 && ok2 && !sameXattrs(a, b) {
			add(xattrs)
		}
	}
	return what
}

func sameXattrs(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || !bytes.Equal(v, w) {
			return false
		}
	}
	return true
}

// sameContent compares two files. One that can't be read is another one.
func sameContent(up, host *object, upfd, hostfd int, name string) bool {
	if up.st.Size != host.st.Size {
		return false
	}
	if up.st.Size == 0 {
		return true
	}
	a, e := sys.Open(upfd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if e != 0 {
		return false
	}
	defer sys.Close(a)
	b, e := sys.Open(hostfd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if e != 0 {
		return false
	}
	defer sys.Close(b)
	p, q := make([]byte, 256<<10), make([]byte, 256<<10)
	for off := int64(0); ; {
		n, e1 := sys.Pread(a, p, off)
		m, e2 := sys.Pread(b, q, off)
		if e1 != 0 || e2 != 0 || n != m || !bytes.Equal(p[:n], q[:m]) {
			return false
		}
		if n == 0 {
			return true
		}
		off += int64(n)
	}
}
