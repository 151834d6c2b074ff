package dialect

import (
	"bytes"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// lookXattrs sees what is to be done with the records of name in l, or of l
// itself.
func (m *mender) lookXattrs(l *level, name string, st *sys.Stat) {
	list, e := sys.ListXattrs(l.fd, name)
	if e != 0 {
		return // Check says so
	}
	o := object{l, name, st, st.Mode & unix.S_IFMT}
	for _, b := range bytes.Split(list, []byte{0}) {
		attr := string(b)
		ns := NSTrusted
		switch {
		case hasPrefix(b, userPrefix):
			ns = NSUser
		case hasPrefix(b, trustedPrefix):
		case hasPrefix(b, fusePrefix), attr == BaseXattr:
			m.lookPrivate(&o, attr)
			continue
		default:
			continue
		}
		if hasPrefix(b[len(ns.Prefix()):], escapePrefix) {
			continue // a client's
		}
		v, e := sys.ReadXattr(l.fd, name, attr)
		if e == 0 && !m.mendKernel(&o, ns, attr, v) {
			m.convert(&o, ns, attr, v)
		}
	}
}

// drop plans to remove a record.
func (m *mender) drop(o *object, k Kind, attr, why string) {
	name := o.name
	o.l.planXattr(name, k, attr+" removed: "+why, func(l *level) syscall.Errno { return sys.RemoveXattr(l.fd, name, attr) })
}

// set plans to change a record.
func (m *mender) set(o *object, k Kind, attr string, v []byte, detail string) {
	name, v := o.name, bytes.Clone(v)
	o.l.planXattr(name, k, detail, func(l *level) syscall.Errno { return sys.SetXattr(l.fd, name, attr, v, 0) })
}

// kept reports what can't be put right.
func (m *mender) kept(o *object, k Kind, attr, why string) {
	o.l.plan(o.name, k, attr, func(*level) (string, error) { return "", errKept(why) })
}

func (o *object) is(types ...uint32) bool {
	for _, t := range types {
		if o.typ == t {
			return true
		}
	}
	return false
}

// mendKernel puts right a record of overlayfs that is damaged, and says whether
// it was.
func (m *mender) mendKernel(o *object, ns NS, attr string, v []byte) bool {
	top := o.name == "" && len(m.c.path) == 0
	wrongPlace := false
	var err error // of the value: then the record is as good as none
	switch attr {
	case ns.Opaque():
		wrongPlace = !o.is(unix.S_IFDIR)
		if ParseOpaque(v) == OpaqueNo {
			err = badValue("neither y nor x")
		}
	case ns.Whiteout():
		wrongPlace = !o.is(unix.S_IFREG) || o.st.Size != 0
	case ns.Redirect():
		wrongPlace = !o.is(unix.S_IFREG, unix.S_IFDIR)
		if _, _, bad := ParseRedirect(v); bad != nil && !wrongPlace {
			m.mendRedirect(o, attr, v)
			return true
		}
	case ns.Metacopy():
		wrongPlace = !o.is(unix.S_IFREG)
		if ParseMetacopy(v) != nil && !wrongPlace {
			m.mendMetacopy(o, attr)
			return true
		}
	case ns.Origin():
		_, err = ParseOrigin(v)
	case ns.Plyfs():
		_, _, err = ParsePlyfsOrigin(v)
	case ns.Impure():
		wrongPlace = !o.is(unix.S_IFDIR)
		if string(v) != "y" && !wrongPlace {
			m.set(o, BadXattr, attr, []byte("y"), attr+" = y")
			return true
		}
	case ns.Nlink():
		_, _, err = ParseNlink(v)
	case ns.UUID():
		wrongPlace = !top
		if len(v) != 16 {
			err = badValue("not 16 bytes")
		}
	case ns.Protattr():
		wrongPlace = !o.is(unix.S_IFREG, unix.S_IFDIR)
		if good := letters(v, "ai"); len(good) != len(v) && !wrongPlace {
			m.set(o, BadXattr, attr, good, attr+" = "+string(good))
			return true
		}
	}
	switch {
	case wrongPlace:
		m.drop(o, Misplaced, attr, "it has no meaning there")
	case err != nil:
		m.drop(o, BadXattr, attr, err.Error())
	}
	return wrongPlace || err != nil
}

// letters are those of v that are among good.
func letters(v []byte, good string) []byte {
	return bytes.Map(func(r rune) rune {
		if strings.ContainsRune(good, r) {
			return r
		}
		return -1
	}, v)
}

// mendRedirect: where the directory continued below isn't known any more, and
// what happens to have its name there has nothing to do with it.
func (m *mender) mendRedirect(o *object, attr string, v []byte) {
	if o.typ != unix.S_IFDIR {
		m.kept(o, RedirectDir, attr, "where the file's data are is not known: copy them there and remove the xattr")
		return
	}
	name := o.name
	if len(v) > 64 {
		v = v[:64]
	}
	detail := attr + " = " + quotePath(string(v)) + " leads nowhere: opaque now"
	o.l.planXattr(name, RedirectDir, detail, func(l *level) syscall.Errno {
		if e := m.markOpaque(l.fd, name); e != 0 {
			return e
		}
		fail.Point("fsck.marked")
		return sys.RemoveXattr(l.fd, name, attr)
	})
}

// mendMetacopy tells by the blocks that a file has whether its data are there.
// A copy that was begun is taken for none: the lower's are whole.
func (m *mender) mendMetacopy(o *object, attr string) {
	if o.st.Size > 0 && o.st.Blocks*512 >= o.st.Size {
		m.drop(o, MetacopyFile, attr, "the data are there")
		return
	}
	m.set(o, MetacopyFile, attr, MetacopyValue(), attr+" = nothing: the data are below")
}

// convert writes a good record in the dialect that is asked for.
func (m *mender) convert(o *object, ns NS, attr string, v []byte) {
	if m.To == ToEach || m.To == ToKernel && ns == NSTrusted || m.To == ToUserXattr && ns == NSUser && attr != ns.Redirect() && attr != ns.Metacopy() {
		if attr == ns.Opaque() && ParseOpaque(v) == OpaqueXWhiteouts && m.To != ToEach {
			m.dropX(o, attr)
		}
		return
	}
	suffix := strings.TrimPrefix(attr, ns.Prefix())
	switch attr {
	case ns.Opaque():
		m.convertOpaque(o, attr, v)
		return
	case ns.Whiteout():
		return // the file is replaced, or is none
	case ns.Redirect(), ns.Metacopy():
		if m.To != ToKernel {
			m.kept(o, kindOf(suffix), attr, "there is no such thing in "+m.To.String()+": mount with plyfs and copy the object, or use --to kernel")
			return
		}
	case ns.Origin(), ns.Plyfs(), ns.Impure(), ns.Nlink(), ns.UUID():
		if m.To == ToFuse {
			m.drop(o, UnknownXattr, attr, "fuse-overlayfs does without")
			return
		}
	case ns.Protattr():
		if m.To == ToFuse {
			m.kept(o, UnknownXattr, attr, "there is no such thing in "+m.To.String())
			return
		}
	default:
		return
	}
	to, name := m.ns().Prefix()+suffix, o.name
	value := bytes.Clone(v)
	o.l.planXattr(name, kindOf(suffix), to+" now", func(l *level) syscall.Errno {
		e := sys.SetXattr(l.fd, name, to, value, unix.XATTR_CREATE)
		if e == unix.EPERM && o.typ != unix.S_IFREG && o.typ != unix.S_IFDIR {
			e = 0 // what can't have it does without
		}
		if e != 0 && e != unix.EEXIST { // one that is there is what counts
			return e
		}
		fail.Point("fsck.marked")
		return sys.RemoveXattr(l.fd, name, attr)
	})
}

func kindOf(suffix string) Kind {
	switch suffix {
	case "redirect":
		return RedirectDir
	case "metacopy":
		return MetacopyFile
	}
	return UnknownXattr
}

// convertOpaque writes the mark of a directory anew and removes attr.
func (m *mender) convertOpaque(o *object, attr string, v []byte) {
	name, kind := o.name, OpaqueTrusted
	if ParseOpaque(v) == OpaqueXWhiteouts {
		m.dropX(o, attr)
		return
	}
	switch attr {
	case NSUser.Opaque():
		kind = OpaqueUser
	case FuseOpaque:
		kind = OpaqueFuse
	}
	o.l.planXattr(name, kind, "a mark of "+m.To.String()+" now", func(l *level) syscall.Errno {
		if e := m.markOpaque(l.fd, name); e != 0 {
			return e
		}
		fail.Point("fsck.marked")
		return sys.RemoveXattr(l.fd, name, attr)
	})
}

// dropX removes the mark of a directory that has xattr whiteouts, if all of them
// could be replaced.
func (m *mender) dropX(o *object, attr string) {
	name := o.name
	o.l.planXattr(name, OpaqueX, attr+" removed: no whiteout here is an xattr any more", func(l *level) syscall.Errno {
		if l.kept {
			return unix.EBUSY
		}
		return sys.RemoveXattr(l.fd, name, attr)
	})
}

// lookPrivate sees to a record of fuse-overlayfs or ours.
func (m *mender) lookPrivate(o *object, attr string) {
	v, e := sys.ReadXattr(o.l.fd, o.name, attr)
	if e != 0 {
		return
	}
	kernel := m.To == ToKernel || m.To == ToUserXattr
	switch attr {
	case FuseOpaque:
		switch {
		case !o.is(unix.S_IFDIR):
			m.drop(o, Misplaced, attr, "it has no meaning there")
		case len(v) == 0 || v[0] != 'y':
			m.drop(o, BadXattr, attr, "not y")
		case kernel:
			m.convertOpaque(o, attr, []byte("y"))
		}
	case FuseOrigin:
		n := len(v)
		switch {
		case n < 2 || n > RedirectMax || bytes.IndexByte(v, 0) != n-1:
			m.drop(o, BadXattr, attr, "not a path with its NUL")
		case kernel:
			m.drop(o, UnknownXattr, attr, "it tells fuse-overlayfs alone an inode number")
		}
	case BaseXattr:
		if _, err := ParseBases(v); err != nil {
			m.drop(o, BadXattr, attr, err.Error())
		}
	}
}
