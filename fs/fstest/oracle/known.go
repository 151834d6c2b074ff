package oracle

import (
	"golang.org/x/sys/unix"
)

// Known is a sequence that failed once, made as short as it goes: what was
// drawn by chance may not be drawn again.
type Known struct {
	Name string
	Root bool // needs what only root's mode has
	Over Setup
	Look bool // at all, before the first operation
	Ops  []Op
}

// dir, file and whiteout are items of a layer.
func dir(path string, xattrs ...Xattr) Item {
	return Item{Path: path, Type: unix.S_IFDIR, Mode: 0o755, Time: 1e9, Xattrs: xattrs}
}

func file(path string, xattrs ...Xattr) Item {
	return Item{Path: path, Type: unix.S_IFREG, Mode: 0o644, Time: 1e9, Content: Content{Tag: 'F', Size: 100}, Xattrs: xattrs}
}

func suid(path string) Item {
	it := file(path)
	it.Mode = 0o6755
	return it
}

func whiteout(path string) Item { return Item{Path: path, Type: unix.S_IFCHR, Time: 1e9} }

func redirect(to string) Xattr { return Xattr{RootMode().Prefix() + "redirect", to} }

// Knowns are all of them.
var Knowns = []Known{
	{
		Name: "a directory that is merged since its copy-up",
		Over: Setup{Lower: []Layer{{}, {dir("b"), dir("b/b"), dir("b/b/c"), dir("b/b/d")}}},
		Ops:  []Op{{Kind: opSetxattr, Path: "b/b", Name: "user.one", Value: "1", Flags: unix.XATTR_REPLACE}},
	},
	{
		Name: "mtime of a directory that is cut off from its lowers",
		Over: Setup{
			Lower: []Layer{{dir("d"), file("d/f"), file("d/gone"), dir("d/s"), file("d/s/f"), file("d/s/gone")}},
			Upper: Layer{dir("d"), whiteout("d/gone"), dir("d/s"), whiteout("d/s/gone")},
		},
		Ops: []Op{{Kind: opRename, Path: "d", To: "e"}, {Kind: opStat, Path: "e/s"}},
	},
	{
		Name: "mtime of a directory whose hard links are copied up",
		Root: true,
		Over: Setup{Links: true, Lower: []Layer{{dir("d"), file("d/f"), {Path: "d/g", LinkTo: "d/f"}, dir("e")}}},
		Ops:  []Op{{Kind: opWrite, Path: "d/f", Len: 5, Tag: 'W'}, {Kind: opRename, Path: "d/g", To: "e/g"}, {Kind: opStat, Path: "d"}},
	},
	{
		Name: "sgid without execution, written to from outside of the group",
		Over: Setup{Lower: []Layer{{dir("d")}}},
		Ops: []Op{
			{Kind: opCreate, Path: "d/f", Mode: 0o2775, Umask: 0o077, Flags: unix.O_WRONLY, Len: 1, Tag: 'P'},
			{Kind: opOpen, Path: "d/f", Slot: 1, Flags: unix.O_WRONLY},
			{Kind: opHeldWrite, Slot: 1, Off: 1, Len: 4096, Tag: 'N', As: 1000},
			{Kind: opStat, Path: "d/f"},
		},
	},
	{
		Name: "suid and sgid of a file that is written through a mapping",
		Over: Setup{
			Lower: []Layer{{suid("low"), dir("d"), suid("d/low")}},
			Upper: Layer{suid("up")},
		},
		Ops: []Op{
			{Kind: opMmap, Path: "low", Off: 1, Len: 5, Tag: 'M'},
			{Kind: opMmap, Path: "up", Off: 1, Len: 5, Tag: 'M'},
			{Kind: opMmap, Path: "low", Off: 50, Len: 5, Tag: 'N'},
			{Kind: opWrite, Path: "d/low", Off: 1, Len: 5, Tag: 'W'},
			{Kind: opMmap, Path: "d/low", Off: 1, Len: 5, Tag: 'M'},
			{Kind: opFallocate, Path: "up", Len: 5000},
			{Kind: opTruncate, Path: "low", Len: 50},
			{Kind: opCopy, Path: "low", To: "up", Len: 40},
			{Kind: opRemount},
		},
	},
	{
		Name: "copying within a lower file that was linked and written",
		Over: Setup{Lower: []Layer{{dir("c"), {Path: "a", Type: unix.S_IFREG, Mode: 0o644, Time: 1e9}}}},
		Ops: []Op{
			{Kind: opStat, Path: "a"},
			{Kind: opLink, Path: "a", To: "c/a"},
			{Kind: opWrite, Path: "c/a", Len: 4096, Tag: 'A'},
			{Kind: opCopy, Path: "a", To: "a", Len: 1},
		},
	},
	{
		Name: "rename of the names of a lower file",
		Root: true,
		Over: Setup{Links: true, Lower: []Layer{
			{dir("d"), file("d/f"), {Path: "d/g", LinkTo: "d/f"}, {Path: "h", LinkTo: "d/f"}, {Path: "i", LinkTo: "d/f"}},
			{file("w")},
		}},
		Ops: []Op{
			{Kind: opUnlink, Path: "d/f", Blind: true},
			{Kind: opRename, Path: "d/g", To: "d/f"},
			{Kind: opRename, Path: "h", To: "d/g"},
			{Kind: opRename, Path: "i", To: "w"},
			{Kind: opRename, Path: "w", To: "d/f", Flags: unix.RENAME_EXCHANGE},
			{Kind: opRemount},
			{Kind: opRename, Path: "d/f", To: "j"},
			{Kind: opUnlink, Path: "w"},
			{Kind: opRename, Path: "d/g", To: "w"},
		},
	},
	{
		Name: "rename out of a redirected directory",
		Root: true,
		Over: Setup{Redirect: true, Lower: []Layer{
			{dir("p", redirect("/q")), whiteout("q")},
			{dir("q"), dir("q/c"), file("q/c/f"), dir("p"), dir("p/c"), file("p/c/wrong")},
		}},
		Ops: []Op{{Kind: opRename, Path: "p/c", To: "z"}, {Kind: opCreate, Path: "z/new", Flags: unix.O_WRONLY, Mode: 0o644, Len: 5, Tag: 'N'}},
	},
	{
		Name: "xattr whiteouts behind a redirect into the bottom layer",
		Root: true,
		Over: Setup{Redirect: true, Lower: []Layer{
			{dir("d"), file("d/f")},
			{
				{Path: "d", Type: unix.S_IFDIR, Mode: 0o755, Time: 1e9, Opaque: "x"},
				{Path: "d/e", Type: unix.S_IFREG, Mode: 0o644, Time: 1e9, XWhite: true},
			},
		}},
		Ops: []Op{{Kind: opRename, Path: "d", To: "b"}, {Kind: opRemount}, {Kind: opReaddir, Path: "b"}},
	},
	{
		Name: "rename of a directory that another layer hides under its old name",
		Root: true,
		Over: Setup{Redirect: true, Lower: []Layer{
			{dir("new", redirect("/old")), file("new/above"), {Path: "old", Type: unix.S_IFDIR, Mode: 0o755, Time: 1e9, Opaque: "y"}, file("old/other")},
			{dir("old"), file("old/below"), dir("old/sub"), file("old/sub/f")},
		}},
		Look: true,
		Ops: []Op{
			{Kind: opRename, Path: "new/sub", To: "sub"},
			{Kind: opRename, Path: "new", To: "newer"},
			{Kind: opRename, Path: "newer", To: "newest"},
			{Kind: opRemount},
			{Kind: opRename, Path: "sub", To: "newest/sub"},
		},
	},
	{
		Name: "root of a namespace writes to an sgid file that its group can't execute",
		Over: Setup{Lower: []Layer{{{Path: "a", Type: unix.S_IFREG, Mode: 0o6740, UID: 2000, GID: 1000, Time: 1e9}}}},
		Look: true,
		Ops:  []Op{{Kind: opWrite, Path: "a", Off: 4096, Len: 70000, Tag: 'G'}},
	},
	{
		Name: "root writes to an suid file that somebody has open for reading",
		Over: Setup{Lower: []Layer{{file("low")}}, Upper: Layer{suid("up")}},
		Ops: []Op{
			{Kind: opOpen, Path: "up", Flags: unix.O_RDONLY},
			{Kind: opWrite, Path: "up", Len: 100, Tag: 'H'},
			{Kind: opRead, Path: "up"},
		},
	},
}
