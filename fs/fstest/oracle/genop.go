package oracle

import (
	"path"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// kinds is how often each operation is drawn.
var kinds = weigh(map[Kind]int{
	opCreate: 8, opWrite: 6, opAppend: 4, opTruncate: 3, opOpenTrunc: 3, opUnlink: 10, opMkdir: 8, opRmdir: 8,
	opRename: 22, opLink: 6, opSymlink: 3, opMknod: 4, opChmod: 5, opChown: 5, opUtimens: 4, opSetxattr: 6,
	opDelxattr: 3, opStat: 3, opReaddir: 5, opRead: 4, opGone: 3, opFallocate: 3, opMmap: 4, opCopy: 3, opTmpfile: 2,
	opOpen: 6, opHeldRead: 4, opHeldWrite: 4, opHeldTrunc: 2, opHeldStat: 3, opHeldChmod: 2, opHeldClose: 2,
	opRemount: 2, opSwap: 2, opCommit: 2,
})

// kindOrder fixes the order of a map's keys, so that a seed means one sequence.
var kindOrder = []Kind{
	opStat, opRead, opReaddir, opUnlink, opMkdir, opRmdir, opCreate, opWrite, opAppend, opTruncate, opOpenTrunc, opChmod,
	opChown, opUtimens, opSetxattr, opDelxattr, opSymlink, opMknod, opLink, opRename, opGone, opFallocate, opMmap, opCopy,
	opTmpfile, opOpen, opHeldRead, opHeldWrite, opHeldTrunc, opHeldStat, opHeldChmod, opHeldClose, opRemount, opSwap,
	opCommit,
}

func weigh(w map[Kind]int) []Kind {
	var out []Kind
	for _, k := range kindOrder {
		for range w[k] {
			out = append(out, k)
		}
	}
	return out
}

// entry is a name that exists while an operation is drawn.
type entry struct {
	path string
	typ  uint8 // DT_*
}

// survey lists the tree at dir, the root first, then in order.
func survey(dir string) []entry {
	out := []entry{{".", unix.DT_DIR}}
	for i := 0; i < len(out); i++ {
		if out[i].typ != unix.DT_DIR {
			continue
		}
		ents, err := treedump.ReadDir(path.Join(dir, out[i].path))
		if err != nil {
			continue
		}
		for _, e := range ents {
			out = append(out, entry{path.Join(out[i].path, e.Name), e.Type})
		}
	}
	return out
}

// opMaker draws operations on a tree.
type opMaker struct {
	*Mode
	disk bool // not on a tmpfs
	tree []entry
}

func opGen(m *Mode, disk bool, tree []entry) *rapid.Generator[Op] {
	g := opMaker{m, disk, tree}
	return rapid.Custom(func(t *rapid.T) Op {
		o := Op{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Umask: 0o022}
		if rapid.IntRange(0, 4).Draw(t, "user") == 1 {
			o.As = g.IDs[len(g.IDs)-2] // 0 where there is no other
		}
		o.Blind = rapid.IntRange(0, 2).Draw(t, "blind") == 1
		g.fill(t, &o)
		return o
	})
}

// of draws one of the tree's names of the types given, any if there is none.
func (g *opMaker) of(t *rapid.T, types ...uint8) string {
	var fit []string
	for _, e := range g.tree {
		for _, typ := range types {
			if e.typ == typ {
				fit = append(fit, e.path)
			}
		}
	}
	if len(fit) == 0 {
		return g.any(t)
	}
	return rapid.SampledFrom(fit).Draw(t, "path")
}

// any draws a name that exists, seldom one that need not.
func (g *opMaker) any(t *rapid.T) string {
	if rapid.IntRange(0, 9).Draw(t, "fresh") == 1 {
		return g.fresh(t)
	}
	e := rapid.SampledFrom(g.tree).Draw(t, "entry")
	return e.path
}

// fresh draws a name in a directory; it may exist.
func (g *opMaker) fresh(t *rapid.T) string {
	return path.Join(g.of(t, unix.DT_DIR), nameGen.Draw(t, "name"))
}

// file draws a regular file mostly.
func (g *opMaker) file(t *rapid.T) string {
	if rapid.IntRange(0, 9).Draw(t, "odd") == 1 {
		return g.any(t)
	}
	return g.of(t, unix.DT_REG)
}

// target draws where a rename or a link goes: what exists, or a new name.
func (g *opMaker) target(t *rapid.T) string {
	if rapid.Bool().Draw(t, "exists") {
		return g.any(t)
	}
	return g.fresh(t)
}

// fill draws the fields that count for the operation's kind.
func (g *opMaker) fill(t *rapid.T, o *Op) {
	switch o.Kind {
	case opCreate, opWrite, opAppend, opTruncate, opOpenTrunc, opGone, opFallocate, opMmap, opCopy, opTmpfile, opRead:
		g.fillFile(t, o)
	case opOpen, opHeldRead, opHeldWrite, opHeldTrunc, opHeldStat, opHeldChmod, opHeldClose:
		g.fillHeld(t, o)
	case opChmod, opChown, opUtimens, opSetxattr, opDelxattr, opStat:
		g.fillAttr(t, o)
	case opRemount, opSwap, opCommit:
		o.Blind, o.As = true, 0
	default:
		g.fillName(t, o)
	}
}

func (g *opMaker) fillName(t *rapid.T, o *Op) {
	switch o.Kind {
	case opUnlink:
		o.Path = g.of(t, unix.DT_REG, unix.DT_LNK, unix.DT_FIFO, unix.DT_CHR)
	case opRmdir, opReaddir:
		o.Path = g.of(t, unix.DT_DIR)
	case opMkdir, opSymlink, opMknod:
		o.Path = g.fresh(t)
		o.Mode = modeGen.Draw(t, "mode")
		o.Umask = rapid.SampledFrom([]uint32{0o022, 0, 0o077, 0o027}).Draw(t, "umask")
	case opRename:
		o.Path, o.To = g.any(t), g.target(t)
		o.Flags = rapid.SampledFrom([]int{
			0, 0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_EXCHANGE,
			unix.RENAME_WHITEOUT, unix.RENAME_EXCHANGE | unix.RENAME_NOREPLACE,
		}).Draw(t, "flags")
	case opLink:
		o.Path, o.To = g.any(t), g.target(t)
	}
	if o.Kind == opSymlink {
		o.Value = targetGen.Draw(t, "target")
	}
	if o.Kind == opMknod {
		o.Flags = rapid.SampledFrom([]int{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK}).Draw(t, "type")
		if o.Flags == unix.S_IFCHR || o.Flags == unix.S_IFBLK {
			o.Len = rapid.SampledFrom([]int64{0, int64(unix.Mkdev(1, 3)), int64(unix.Mkdev(259, 70000))}).Draw(t, "rdev")
		}
	}
}

func (g *opMaker) fillAttr(t *rapid.T, o *Op) {
	o.Path = g.any(t)
	switch o.Kind {
	case opChmod:
		o.Mode = modeGen.Draw(t, "mode")
	case opChown:
		ids := []int{-1, int(g.IDs[0]), int(g.IDs[len(g.IDs)-2]), int(g.IDs[len(g.IDs)-1])}
		o.UID = rapid.SampledFrom(ids).Draw(t, "uid")
		o.GID = rapid.SampledFrom(ids).Draw(t, "gid")
		if o.UID == -1 && o.GID == -1 {
			o.GID = 0 // see Avoided
		}
	case opUtimens:
		sec := rapid.SampledFrom([]int64{1e9 + 500, 1e9 + 501, timeNow, timeOmit})
		o.Sec = [2]int64{sec.Draw(t, "atime"), sec.Draw(t, "mtime")}
	case opSetxattr, opDelxattr:
		x := rapid.SampledFrom(g.opXattrs()).Draw(t, "xattr")
		o.Name, o.Value = x.Name, x.Value
		if o.Kind == opSetxattr {
			o.Flags = rapid.SampledFrom([]int{0, 0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE}).Draw(t, "flags")
		}
	}
}

// opXattrs are what operations set: also overlayfs' own names, which are to be
// stored escaped, and values that nothing accepts.
func (g *opMaker) opXattrs() []Xattr {
	all := append([]Xattr{aclAccess, aclDefault, aclMinimal, aclBad, capability, trustedAttr, {"nonsense", "1"}, {"user.", "1"}}, fileXattrs...)
	for _, x := range []Xattr{{"opaque", "y"}, {"redirect", "/a"}, {"whiteout", ""}, {"overlay.opaque", "y"}} {
		all = append(all, Xattr{g.Prefix() + x.Name, x.Value})
	}
	return all
}
