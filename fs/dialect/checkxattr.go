package dialect

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// dirMarks is what a directory's xattrs say of the merge.
type dirMarks struct {
	opaque   bool
	xwh      bool
	redirect bool // to somewhere else than the name below
}

// object is what xattrs are looked at on.
type object struct {
	l    *level
	name string // "" = the directory itself
	st   *sys.Stat
	typ  uint32
}

// xattrs looks at the xattrs of name in l, or of l itself.
func (c *checker) xattrs(l *level, name string, st *sys.Stat) (d dirMarks) {
	n, e := sys.ListXattr(l.fd, name, c.list)
	switch e {
	case 0:
	case unix.EOPNOTSUPP, unix.ENOENT:
		return d
	default:
		c.add(name, Unreadable, SevError, "xattrs: "+e.Error())
		return d
	}
	o := object{l, name, st, st.Mode & unix.S_IFMT}
	top := name == "" && len(c.path) == 0
	for list := c.list[:n]; len(list) > 0; {
		b, rest, _ := bytes.Cut(list, []byte{0})
		list = rest
		ns := NSTrusted
		switch {
		case hasPrefix(b, userPrefix):
			ns = NSUser
		case hasPrefix(b, trustedPrefix):
		case hasPrefix(b, fusePrefix), hasPrefix(b, plyfsPrefix),
			string(b) == OverrideUser, string(b) == OverridePrivileged:
			c.privateXattr(&o, string(b), top, &d)
			continue
		default:
			continue
		}
		if hasPrefix(b[len(ns.Prefix()):], escapePrefix) {
			c.sum.Escaped++
			continue
		}
		c.kernelXattr(&o, ns, string(b), top, &d)
	}
	return d
}

// get reads one xattr. It is valid until the next call.
func (c *checker) get(o *object, attr string) ([]byte, bool) {
	n, e := sys.GetXattr(o.l.fd, o.name, attr, c.value)
	if e == unix.ENODATA || e == unix.ENOENT {
		return nil, false // gone meanwhile
	}
	if e != 0 {
		c.add(o.name, Unreadable, SevError, attr+": "+e.Error())
		return nil, false
	}
	return c.value[:n], true
}

// bad reports a value of the wrong form.
func (c *checker) bad(o *object, attr string, s Severity, v []byte, why string) {
	if len(v) > 32 {
		v = v[:32]
	}
	c.add(o.name, BadXattr, s, attr+" = "+strconv.QuoteToASCII(string(v))+": "+why)
}

// on says whether the object has one of the types, and reports if it hasn't.
func (c *checker) on(o *object, attr string, types ...uint32) bool {
	for _, t := range types {
		if o.typ == t {
			return true
		}
	}
	c.add(o.name, Misplaced, SevWarning, attr+" has no meaning on "+typeWord(o.typ))
	return false
}

func typeWord(typ uint32) string {
	switch typ {
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a fifo"
	case unix.S_IFSOCK:
		return "a socket"
	}
	return "a device"
}

// kernelXattr looks at one of overlayfs' records.
func (c *checker) kernelXattr(o *object, ns NS, attr string, top bool, d *dirMarks) {
	v, ok := c.get(o, attr)
	if !ok {
		return
	}
	kernelMark := markTrusted
	if ns == NSUser {
		kernelMark = markUser
	}
	if attr == ns.Opaque() {
		c.opaque(o, ns, attr, v, d)
		return
	}
	c.marks |= kernelMark
	switch attr {
	case ns.Whiteout():
		if c.on(o, attr, unix.S_IFREG) {
			if o.st.Size != 0 {
				c.add(o.name, Misplaced, SevWarning, attr+" has no meaning on a file with data")
				return
			}
			c.whiteout(o.l, o.name, WhiteoutXattr, SevWarning, "the kernel finds no such file but lists its name, unless this becomes a lower layer")
		}
	case ns.Redirect():
		c.redirect(o, ns, attr, v, d)
	case ns.Metacopy():
		c.metacopy(o, ns, attr, v)
	case ns.Origin():
		c.sum.Copied++
		if _, err := ParseOrigin(v); err != nil {
			c.bad(o, attr, SevError, v, err.Error())
		}
	case ns.Plyfs():
		c.sum.Copied++
		if _, _, err := ParsePlyfsOrigin(v); err != nil {
			c.bad(o, attr, SevError, v, err.Error())
		}
	case ns.Impure():
		if c.on(o, attr, unix.S_IFDIR) && string(v) != "y" {
			c.bad(o, attr, SevWarning, v, "not y")
		}
	case ns.Nlink():
		if _, _, err := ParseNlink(v); err != nil {
			c.bad(o, attr, SevError, v, err.Error())
		}
	case ns.UUID():
		switch {
		case !top:
			c.add(o.name, Misplaced, SevWarning, attr+" has a meaning on the upper itself only")
		case len(v) != 16:
			c.bad(o, attr, SevError, v, "not 16 bytes")
		}
	case ns.Protattr():
		if c.on(o, attr, unix.S_IFREG, unix.S_IFDIR) && len(bytes.Trim(v, "ai")) != 0 {
			c.bad(o, attr, SevError, v, "letters other than a and i")
		}
	default:
		c.add(o.name, UnknownXattr, SevWarning, attr)
	}
}

func (c *checker) opaque(o *object, ns NS, attr string, v []byte, d *dirMarks) {
	if !c.on(o, attr, unix.S_IFDIR) {
		return
	}
	kind, mark, full := OpaqueTrusted, markTrustedOpaque, markTrusted
	if ns == NSUser {
		kind, mark, full = OpaqueUser, markUserOpaque, markUser
	}
	switch ParseOpaque(v) {
	case OpaqueYes:
		c.marks |= mark
		d.opaque = true
		c.add(o.name, kind, SevInfo, "")
	case OpaqueXWhiteouts:
		c.marks |= full
		d.xwh = true
		c.add(o.name, OpaqueX, SevWarning, attr+" = \"x\": the kernel honours it in lower layers only")
	default:
		c.bad(o, attr, SevWarning, v, "neither y nor x: ignored by all readers")
	}
}

func (c *checker) redirect(o *object, ns NS, attr string, v []byte, d *dirMarks) {
	if !c.on(o, attr, unix.S_IFDIR, unix.S_IFREG) {
		return
	}
	path, absolute, err := ParseRedirect(v)
	if err != nil {
		c.bad(o, attr, SevError, v, err.Error())
		return
	}
	d.redirect = absolute
	s, detail := SevInfo, "to "+strconv.Quote(path)
	if ns == NSUser {
		s, detail = SevWarning, detail+"; kernel mounts with userxattr refuse the object with EPERM"
	}
	c.add(o.name, RedirectDir, s, detail)
}

func (c *checker) metacopy(o *object, ns NS, attr string, v []byte) {
	if !c.on(o, attr, unix.S_IFREG) {
		return
	}
	if err := ParseMetacopy(v); err != nil {
		c.bad(o, attr, SevError, v, err.Error())
		return
	}
	detail := "its data is in a lower layer"
	if ns == NSUser {
		detail += "; kernel mounts with userxattr refuse the file"
	}
	c.add(o.name, MetacopyFile, SevWarning, detail)
}

// privateXattr looks at a record of fuse-overlayfs, containers/storage or ours.
func (c *checker) privateXattr(o *object, attr string, top bool, d *dirMarks) {
	v, ok := c.get(o, attr)
	if !ok {
		return
	}
	for i, name := range overrideNames {
		if attr == name {
			c.override(o, i, v, top)
			return
		}
	}
	if hasPrefix(attr, fusePrefix) {
		c.marks |= markFuse
	}
	switch attr {
	case FuseOpaque:
		if !c.on(o, attr, unix.S_IFDIR) {
			return
		}
		// Its reader looks at the first byte only.
		if len(v) == 0 || v[0] != 'y' {
			c.bad(o, attr, SevWarning, v, "not y: ignored by all readers")
			return
		}
		d.opaque = true
		c.add(o.name, OpaqueFuse, SevWarning, "the kernel doesn't read it: to it the directory is merged")
	case FuseOrigin:
		c.sum.Copied++
		if n := len(v); n < 2 || n > RedirectMax || bytes.IndexByte(v, 0) != n-1 {
			c.bad(o, attr, SevWarning, v, "not a path with its NUL")
		}
	case BaseXattr:
		if _, err := ParseBases(v); err != nil {
			c.bad(o, attr, SevWarning, v, "not the record of a lower object")
		}
	default:
		c.add(o.name, UnknownXattr, SevWarning, attr)
	}
}

// override looks at a record of virtual ownership. Readers take it only where
// the top of the layer has one of the same name.
func (c *checker) override(o *object, which int, v []byte, top bool) {
	attr := overrideNames[which]
	if _, err := ParseOverride(v); err != nil {
		c.bad(o, attr, SevError, v, err.Error())
		return
	}
	if !c.on(o, attr, unix.S_IFREG, unix.S_IFDIR) {
		return
	}
	switch {
	case top && c.sum.Override == "":
		c.sum.Override = attr
	case c.sum.Override != attr && !c.lost[which]:
		c.lost[which] = true
		c.add(o.name, OverrideIgnored, SevWarning, attr+": the upper itself has none, so readers ignore this and all others")
	}
}
