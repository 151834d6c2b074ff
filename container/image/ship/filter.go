package ship

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
)

// errAsData says that a layer has what this user namespace can't make: owners
// without an id here, or devices. They have to be kept as data.
var errAsData = errors.New("owners and devices can only be kept as data here")

// xattrRecord is how tar carries extended attributes.
const xattrRecord = "SCHILY.xattr."

// filter looks at every header of a layer before it is unpacked. It bounds
// what comes, takes out what would mean something else on disk than in the
// archive, and keeps as data what this process can't make.
type filter struct {
	ids     *idRanges
	virtual bool // owners are kept as data
	limits  Limits

	bytes, entries int64
	unmapped       bool            // some owners have no id here
	listed         map[string]bool // directories with a header of their own
	implied        map[string]bool // directories that only lead to something
	sparse         []string
}

func newFilter(ids *idRanges, virtual bool, l Limits) *filter {
	return &filter{ids: ids, virtual: virtual, limits: l, listed: map[string]bool{}, implied: map[string]bool{}}
}

func (f *filter) header(h *tar.Header) (bool, error) {
	f.entries++
	if f.entries > f.limits.Entries {
		return false, fmt.Errorf("more than %d entries: refused (--max-entries allows more)", f.limits.Entries)
	}
	name := path.Join("/", h.Name)[1:]
	if strings.ContainsRune(h.Name, 0) || strings.ContainsRune(h.Linkname, 0) {
		return false, fmt.Errorf("%q: a name with a zero byte", h.Name)
	}
	base := path.Base(name)
	if strings.HasPrefix(base, ".wh.") {
		if strings.HasPrefix(base, ".wh..wh.") && base != ".wh..wh..opq" {
			return false, nil // bookkeeping of aufs
		}
		if r := base[len(".wh."):]; r == "" || r == "." || r == ".." {
			return false, fmt.Errorf("%q deletes no name: refused", h.Name)
		}
		f.parents(name)
		return true, nil
	}
	switch h.Typeflag {
	case tar.TypeGNUSparse:
		h.Typeflag = tar.TypeReg
		f.sparse = append(f.sparse, name)
	case tar.TypeCont:
		h.Typeflag = tar.TypeReg
	case tar.TypeReg:
		if h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" || h.PAXRecords["GNU.sparse.size"] != "" {
			f.sparse = append(f.sparse, name)
		}
	case tar.TypeXGlobalHeader:
		return false, nil
	}
	if h.Size > 0 && h.Typeflag == tar.TypeReg {
		f.bytes += h.Size
	}
	if f.bytes < 0 || f.bytes > f.limits.Bytes {
		return false, fmt.Errorf("%q: the layer unpacks to more than %d bytes: refused (--max-size allows more)", h.Name, f.limits.Bytes)
	}
	f.attributes(h)
	if h.Typeflag == tar.TypeDir && name != "" {
		f.listed[name] = true
	}
	f.parents(name)
	return f.owner(h)
}

// parents notes which directories lead to a name.
func (f *filter) parents(name string) {
	for d := path.Dir(name); d != "." && d != "/" && !f.implied[d]; d = path.Dir(d) {
		f.implied[d] = true
	}
}

// unlisted are the directories that the archive says nothing about: they look
// as they do below.
func (f *filter) unlisted() (out []string) {
	for d := range f.implied {
		if !f.listed[d] {
			out = append(out, d)
		}
	}
	return out
}

// overrideOf is before the names of attributes that are kept as data.
const overrideOf = "user.containers.override_"

// attributes keeps those that mean the same on every host. What layers of a
// union are marked with must not come out of an archive.
func (f *filter) attributes(h *tar.Header) {
	for _, k := range slices.Collect(maps.Keys(h.PAXRecords)) {
		name, ok := strings.CutPrefix(k, xattrRecord)
		if !ok {
			continue
		}
		keep := name == "security.capability" || strings.HasPrefix(name, "system.posix_acl_") || strings.HasPrefix(name, "user.")
		for _, p := range []string{"user.overlay.", "user.containers.override_", "user.fuseoverlayfs.", "user.plyfs."} {
			keep = keep && !strings.HasPrefix(name, p)
		}
		if v := h.PAXRecords[k]; !keep {
			delete(h.PAXRecords, k)
		} else if f.virtual && strings.HasPrefix(name, "security.") { // where readers look then
			delete(h.PAXRecords, k)
			if h.Typeflag == tar.TypeReg {
				h.PAXRecords[xattrRecord+overrideOf+name] = v
			}
		}
	}
}

// owner makes sure that the object can be made, with the owner that it has.
func (f *filter) owner(h *tar.Header) (bool, error) {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32 {
		return false, fmt.Errorf("%q: %d:%d is no owner", h.Name, h.Uid, h.Gid)
	}
	device := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock
	if device {
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor >= 1<<12 || h.Devminor >= 1<<20 {
			return false, fmt.Errorf("%q: %d:%d is no device", h.Name, h.Devmajor, h.Devminor)
		}
		if h.Devmajor == 0 && h.Devminor == 0 {
			return false, nil // on disk that is a deletion
		}
	}
	known := f.ids.has(h.Uid, h.Gid)
	if (!known || device && f.ids.ns) && !f.virtual {
		return false, errAsData
	}
	f.unmapped = f.unmapped || !known
	if known && (!device || !f.ids.ns) {
		return true, nil
	}
	typ, kept := uint32(0), device
	switch h.Typeflag {
	case tar.TypeReg:
		typ, kept = unix.S_IFREG, true
	case tar.TypeDir:
		typ, kept = unix.S_IFDIR, true
	case tar.TypeChar:
		typ = unix.S_IFCHR
	case tar.TypeBlock:
		typ = unix.S_IFBLK
	}
	if kept {
		o := dialect.Override{
			UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: typ | uint32(h.Mode&0o7777), HasType: true,
			Rdev: unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)),
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+dialect.OverrideUser] = string(o.Append(nil))
	}
	if device {
		h.Typeflag, h.Size = tar.TypeReg, 0
	}
	if !known {
		h.Uid, h.Gid = 0, 0
	}
	return true, nil
}
