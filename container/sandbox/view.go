package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
)

// View is an upper beside the tree that it was laid over.
type View struct {
	Upper int // directory descriptors, of the caller's
	Host  int // -1: the layers below aren't known

	// Fixed says that nothing changes in Host: there are no conflicts, and
	// what an opaque directory hides was deleted in the upper.
	Fixed bool

	// Virtual says that owners and types are kept as data, by a sandbox of
	// one id: root there is the user here.
	Virtual bool
	// Since is when the sandbox was made, in nanoseconds of the host's
	// file times: what has changed later, it may not have seen.
	Since int64
	// Protected are the paths (absolute, clean) that the sandbox did not see as
	// they are, with the reason: never touched.
	Protected map[string]string

	leads map[string]bool // the directories above protected paths; made at the first use
}

// leadsTo says whether a directory is above a protected path. The sandbox may
// have seen one of our own layer there, with the host's under it.
func (v *View) leadsTo(p string) bool {
	if v.leads == nil {
		v.leads = map[string]bool{}
		for q := range v.Protected {
			for q != "/" {
				q = path.Dir(q)
				v.leads[q] = true
			}
		}
	}
	return v.leads[p]
}

// protected gives the reason when a path is in or below a protected one.
func (v *View) protected(p string) string {
	for q := p; ; q = path.Dir(q) {
		if why, ok := v.Protected[q]; ok {
			return why
		}
		if q == "/" {
			return ""
		}
	}
}

// holds lists the protected paths below p.
func (v *View) holds(p string) (below []string) {
	prefix := strings.TrimSuffix(p, "/") + "/"
	for q := range v.Protected {
		if strings.HasPrefix(q, prefix) {
			below = append(below, q)
		}
	}
	slices.Sort(below)
	return below
}

// walker collects the changes.
type walker struct {
	v       *View
	changes []Change
	links   map[uint64]string // upper inode with several names: its first path
	deep    bool
}

// Changes says what differs from the host: in the order of paths, a directory
// before what is in it. Of a deleted directory only the directory is listed.
// With deep, all that a deletion would take along is looked through for
// conflicts.
func (v *View) Changes(deep bool) ([]Change, error) {
	w := &walker{v: v, links: map[uint64]string{}, deep: deep}
	if err := w.dir(v.Upper, v.Host, "/", false, false); err != nil {
		return nil, err
	}
	return w.changes, nil
}

// failed is an error about a path.
func failed(what, p string, e syscall.Errno) error { return fmt.Errorf("%s %s: %w", what, p, e) }

// entry is a name that the upper has something for.
type entry struct {
	name    string
	deleted bool
}

// entries lists the upper directory, in order.
func entries(fd int, p string) (list []entry, err error) {
	e := sys.Rewind(fd)
	var names []string
	if e == 0 {
		e = sys.ReadDir(fd, make([]byte, 32<<10), func(name string, _ uint64, _ uint8) bool {
			names = append(names, strings.Clone(name))
			return true
		})
	}
	if e != 0 {
		return nil, failed("reading", p, e)
	}
	for _, n := range names {
		gone, kind := dialect.ParseDotWh(n)
		switch kind {
		case dialect.DotWhWhiteout:
			list = append(list, entry{gone, true})
			continue
		case dialect.DotWhOpaque, dialect.DotWhMeta:
			continue
		}
		var st sys.Stat
		if e := sys.StatAt(fd, n, &st); e != 0 {
			if e == unix.ENOENT {
				continue
			}
			return nil, failed("looking at", path.Join(p, n), e)
		}
		list = append(list, entry{n, whiteout(fd, n, &st)})
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// dir compares an upper directory with one of the host (-1 is none). cut says
// that nothing of the lower shows in it, seen that it is the very directory
// that the sandbox had there: what is missing was deleted then.
func (w *walker) dir(up, host int, p string, cut, seen bool) error {
	list, err := entries(up, p)
	if err != nil {
		return err
	}
	if cut && seen && host >= 0 {
		if list, err = addMissing(list, host, p); err != nil {
			return err
		}
	}
	for _, en := range list {
		if err := w.one(up, host, path.Join(p, en.name), en, cut); err != nil {
			return err
		}
	}
	return nil
}

// addMissing adds what only the host has, as deleted.
func addMissing(list []entry, host int, p string) ([]entry, error) {
	have := map[string]bool{}
	for _, en := range list {
		have[en.name] = true
	}
	fd, e := sys.Open(host, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e == unix.EACCES {
		return list, nil // the sandbox saw nothing in it either
	}
	if e == 0 {
		defer sys.Close(fd)
		e = sys.ReadDir(fd, make([]byte, 32<<10), func(name string, _ uint64, _ uint8) bool {
			if !have[name] {
				list = append(list, entry{strings.Clone(name), true})
			}
			return true
		})
	}
	if e != 0 {
		return nil, failed("reading the host's", p, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

func (w *walker) one(up, host int, p string, en entry, cut bool) error {
	var old *object
	if host >= 0 {
		var e syscall.Errno
		old, e = hostObject(host, en.name)
		if e != 0 && e != unix.ENOENT && e != unix.EACCES && e != unix.ENOTDIR {
			return failed("looking at the host's", p, e)
		}
	}
	if en.deleted {
		if w.v.Host < 0 {
			w.add(&Change{Path: p, Kind: Deleted, Type: unknownType})
			return nil
		}
		if old == nil {
			return nil // of what is not there (any more), or never was but in our own layer
		}
		c := Change{Path: p, Kind: Deleted, Type: typeWord(old.mode), OldMode: octal(old.mode), OldSize: size(old), before: old}
		c.Kept = w.v.protected(p)
		c.Conflict = w.v.changedSince(old, nil)
		if w.deep && old.dir() && c.Conflict == "" {
			c.Conflict = w.v.changedBelow(host, en.name, p)
		}
		w.add(&c)
		return nil
	}
	o, e := w.v.upperObject(up, en.name)
	if e != 0 {
		return failed("looking at", p, e)
	}
	if o.dir() && w.v.leadsTo(p) {
		o.bases = nil
	}
	c := w.compare(up, host, p, en.name, o, old)
	if c != nil {
		w.add(c)
	}
	if !o.dir() {
		return nil
	}
	fd, e := sys.Open(up, en.name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return failed("opening", p, e)
	}
	defer sys.Close(fd)
	below := -1
	if old != nil && old.dir() {
		if below, e = sys.OpenDir(host, en.name); e == 0 {
			defer sys.Close(below)
		} else {
			below = -1
		}
	}
	cut = cut || opaque(fd)
	seen := old != nil && (w.v.Fixed || o.base(old.st.Ino) != nil)
	return w.dir(fd, below, p, cut, seen)
}

// add adds a change. What is never put on the host can't be in conflict with it.
func (w *walker) add(c *Change) {
	if c.Kept != "" {
		c.Conflict = ""
	}
	w.changes = append(w.changes, *c)
}

// compare makes the change of an object that the upper has; nil is none.
func (w *walker) compare(up, host int, p, name string, o, old *object) *Change {
	c := &Change{
		Path: p, Kind: Added, Type: typeWord(o.mode), Mode: octal(o.mode), Size: size(o), Target: o.target,
		node: o, before: old,
	}
	if o.owned {
		c.UID, c.GID = &o.uid, &o.gid
	}
	if !o.dir() && o.st.Nlink > 1 {
		if first, ok := w.links[o.st.Ino]; ok {
			c.LinkTo = first
		} else {
			w.links[o.st.Ino] = p
		}
	}
	c.Kept = w.v.protected(p)
	if w.v.Host < 0 {
		return w.bare(up, name, c, o)
	}
	if old == nil {
		return c
	}
	c.OldMode, c.OldSize = octal(old.mode), size(old)
	if o.typ() != old.typ() {
		c.Kind, c.OldType = Replaced, typeWord(old.mode)
		c.Conflict = w.v.changedSince(old, o)
		if w.deep && old.dir() && c.Conflict == "" {
			c.Conflict = w.v.changedBelow(host, name, p)
		}
		if below := w.v.holds(p); old.dir() && len(below) > 0 && c.Kept == "" {
			c.Kept = "the host's directory holds " + below[0] + ", which the sandbox did not see"
		}
		return c
	}
	c.Kind = Changed
	if c.What = w.v.differences(o, old, up, host, name); len(c.What) == 0 {
		return nil
	}
	c.Conflict = w.v.changedSince(old, o)
	return c
}

func octal(m uint32) string { return "0" + strconv.FormatUint(uint64(m&0o7777), 8) }

// size is the size that counts: of files and links.
func size(o *object) int64 {
	if o.dir() {
		return 0
	}
	return o.st.Size
}
