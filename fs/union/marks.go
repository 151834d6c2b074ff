package union

import (
	"bytes"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// marks is what the xattrs of a directory in one layer say to the union.
type marks struct {
	opaque   bool
	xwh      bool
	impure   bool
	redirect []byte
	bad      syscall.Errno
}

// readMarks reads them with one call where there are none. fd is the
// directory's descriptor.
//
// Both overlay namespaces are read; what the mount itself writes wins. The
// client can't make such xattrs through the mount (they are escaped), so the
// other namespace is only there when the layer was made by another mount.
func (fs *FS) readMarks(fd int) (m marks) {
	var buf [512]byte
	list := buf[:]
	n, e := sys.ListXattr(fd, "", list)
	if e == unix.ERANGE {
		list, e = sys.ListXattrs(fd, "")
		n = len(list)
	}
	if e == 0 && n > 0 {
		fs.parseMarks(fd, list[:n], &m)
	}
	if !m.opaque && sys.Exists(fd, ".wh..wh..opq") {
		m.opaque = true
	}
	return m
}

func (fs *FS) parseMarks(fd int, list []byte, m *marks) {
	own, other := fs.ns, fs.ns.Other()
	var val [64]byte
	read := func(attr string) []byte {
		n, e := sys.GetXattr(fd, "", attr, val[:])
		if e != 0 {
			return nil
		}
		return val[:n]
	}
	for len(list) > 0 {
		name := list
		if i := bytes.IndexByte(list, 0); i >= 0 {
			name, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		switch s := string(name); s {
		case own.Opaque(), other.Opaque(), dialect.FuseOpaque:
			switch dialect.ParseOpaque(read(s)) {
			case dialect.OpaqueYes:
				m.opaque = true
			case dialect.OpaqueXWhiteouts:
				m.xwh = true
			}
		case own.Impure(), other.Impure():
			m.impure = true
		case own.Redirect():
			m.redirect, m.bad = sys.ReadXattr(fd, "", s)
		case other.Redirect():
			if m.redirect == nil {
				m.redirect, m.bad = sys.ReadXattr(fd, "", s)
			}
		}
	}
}

// isXattrWhiteout says whether the empty regular file is a whiteout in a
// directory that is marked for it.
func (fs *FS) isXattrWhiteout(dirfd int, name string) bool {
	for _, ns := range [...]dialect.NS{fs.ns, fs.ns.Other()} {
		if _, e := sys.GetXattr(dirfd, name, ns.Whiteout(), nil); e == 0 {
			return true
		}
	}
	return false
}

// chooseNS decides which xattr namespace the mount writes: trusted where the
// kernel lets us (CAP_SYS_ADMIN in the initial namespace), as overlayfs does.
//
// Without the capability a trusted xattr seems not to exist (ENODATA) even when
// it does, so only a change tells; removing one that is not there changes
// nothing. A mount without an upper has nothing that may be changed: there the
// capability is looked for.
func (fs *FS) chooseNS() dialect.NS {
	switch {
	case fs.o.UserXattr:
		return dialect.NSUser
	case fs.layers[0].fd >= 0 && !fs.ro:
		if sys.RemoveXattr(fs.layers[0].fd, "", dialect.NSTrusted.Prefix()+"plyfs.probe") == unix.EPERM {
			return dialect.NSUser
		}
	case fs.ids.uid.known != nil || !sys.HasCapability(unix.CAP_SYS_ADMIN):
		return dialect.NSUser
	}
	return dialect.NSTrusted
}

// detectOverride finds out whether a layer keeps owners and modes as data: its
// root says so.
func (fs *FS) detectOverride(l *layerInfo) {
	names := []struct {
		mode layer.XattrPermissions
		name string
	}{
		{layer.XattrPermPrivileged, dialect.OverridePrivileged},
		{layer.XattrPermUser, dialect.OverrideUser},
		{layer.XattrPermUser, dialect.OverrideUserLegacy},
	}
	list, e := sys.ListXattrs(l.fd, "")
	if e != 0 || len(list) == 0 {
		return // one question for most layers
	}
	for _, n := range names {
		if _, e := sys.GetXattr(l.fd, "", n.name, nil); e == 0 {
			l.override, l.ovName = n.mode, n.name
			return
		}
	}
}
