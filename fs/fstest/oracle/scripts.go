package oracle

import "golang.org/x/sys/unix"

// Script is a sequence that is written down so that it passes certain
// failpoints.
type Script struct {
	Name string
	Root bool // needs what only root's mode has
	Over Setup
	Ops  []Op
}

// sized is a file of so many bytes.
func sized(path string, size int, xattrs ...Xattr) Item {
	it := file(path, xattrs...)
	it.Content.Size = size
	return it
}

// open2all is a directory that everybody may write to.
func open2all(path string) Item {
	it := dir(path)
	it.Mode = 0o777
	return it
}

var scriptLower = Layer{
	dir("low"), sized("low/f", 30000, Xattr{"user.one", "1"}), file("low/g"), file("low/h"),
	dir("low/sub"), dir("low/sub/deep"), file("low/sub/deep/f"), dir("low/empty"),
	dir("merged"), file("merged/both"), file("merged/other"), file("merged/third"), open2all("all"),
	file("gone1"), file("gone2"), file("gone3"), file("gone4"),
	dir("emptied"), file("emptied/a"), dir("holes"), file("holes/a"), file("holes/b"), dir("holes/d"), file("holes/d/c"),
}

var scriptUpper = Layer{
	dir("merged"), sized("merged/both", 200), file("merged/third"), dir("up"), file("up/f"), file("up/g"), file("up/h"),
	whiteout("gone1"), whiteout("gone2"), whiteout("gone3"), whiteout("gone4"),
	dir("emptied"), whiteout("emptied/a"), dir("holes"), whiteout("holes/a"), dir("holes/d"), whiteout("holes/d/c"),
}

func write(path string, off, n int64) Op {
	return Op{Kind: opWrite, Path: path, Off: off, Len: n, Tag: 'W'}
}

func create(path string, as uint32) Op {
	return Op{Kind: opCreate, Path: path, Flags: unix.O_WRONLY | unix.O_EXCL, Mode: 0o644, Len: 5, Tag: 'N', As: as}
}

func rename(from, to string) Op { return Op{Kind: opRename, Path: from, To: to} }

// synced begins a script with what must be there at the end, whatever dies: a
// file that is new and one that is copied up, written to and fsynced while
// they stay open.
func synced(ops ...Op) []Op {
	return append([]Op{
		{Kind: opCreate, Path: "up/synced", Flags: unix.O_WRONLY, Mode: 0o600},
		{Kind: opOpen, Path: "up/synced", Slot: 0, Flags: unix.O_RDWR},
		{Kind: opHeldSync, Slot: 0, Len: 4000, Tag: 'S'},
		{Kind: opOpen, Path: "merged/other", Slot: 1, Flags: unix.O_RDWR},
		{Kind: opHeldSync, Slot: 1, Off: 50, Len: 100, Tag: 'S'},
	}, ops...)
}

// Scripts pass all failpoints of the union, which the test of them checks.
var Scripts = []Script{
	{
		Name: "names", Over: Setup{Lower: []Layer{scriptLower}, Upper: scriptUpper},
		Ops: synced(
			create("low/sub/new", 0), create("gone1", 0), create("all/others", 1000),
			Op{Kind: opMkdir, Path: "gone2", Mode: 0o755}, Op{Kind: opSymlink, Path: "up/s", Value: "f"},
			Op{Kind: opLink, Path: "low/f", To: "up/linked"}, Op{Kind: opLink, Path: "up/f", To: "gone3"},
			rename("low/h", "up/i"), rename("up/h", "merged/both"),
			Op{Kind: opRename, Path: "up/g", To: "low/g", Flags: unix.RENAME_EXCHANGE},
			Op{Kind: opUnlink, Path: "up/f"}, Op{Kind: opUnlink, Path: "low/sub/deep/f"}, Op{Kind: opUnlink, Path: "merged/both"},
			Op{Kind: opLink, Path: "merged/third", To: "up/third"}, Op{Kind: opUnlink, Path: "merged/third"},
			Op{Kind: opRmdir, Path: "low/empty"}, Op{Kind: opRmdir, Path: "emptied"},
		),
	},
	{
		Name: "data", Over: Setup{Lower: []Layer{scriptLower}, Upper: scriptUpper, Extra: "fsync=strict"},
		Ops: synced(
			write("low/f", 5, 100), Op{Kind: opTruncate, Path: "low/g", Len: 20}, Op{Kind: opOpenTrunc, Path: "low/h", Tag: 'T', Len: 7},
			Op{Kind: opChmod, Path: "low/sub/deep/f", Mode: 0o600},
			Op{Kind: opSetxattr, Path: "holes/b", Name: "user.two", Value: "2"}, Op{Kind: opChown, Path: "low/sub", UID: 1000, GID: 1000},
			Op{Kind: opAppend, Path: "low/f", Len: 5000, Tag: 'A'}, Op{Kind: opFallocate, Path: "merged/both", Len: 9000},
		),
	},
	{
		Name: "directories", Root: true, Over: Setup{Lower: []Layer{scriptLower}, Upper: scriptUpper, Redirect: true},
		Ops: synced(
			rename("low", "moved"), rename("moved/sub", "gone1"), rename("holes", "gone2"),
			Op{Kind: opMkdir, Path: "dir", Mode: 0o755}, create("dir/f", 0), rename("dir", "emptied"), rename("merged", "moved/merged"),
		),
	},
	{
		Name: "directories in place", Root: true, Over: Setup{Lower: []Layer{scriptLower}, Upper: scriptUpper, Redirect: true, CutOff: true},
		Ops: synced(rename("low", "moved"), rename("holes", "gone1"), rename("moved/sub", "gone2"), rename("moved", "emptied")),
	},
	{
		Name: "metadata alone", Root: true, Over: Setup{Lower: []Layer{scriptLower}, Upper: scriptUpper, Metacopy: true},
		Ops: synced(
			Op{Kind: opChmod, Path: "low/f", Mode: 0o640}, Op{Kind: opChown, Path: "low/g", UID: 1000, GID: 1000}, rename("low/f", "up/moved"),
			write("up/moved", 5, 100), Op{Kind: opTruncate, Path: "low/g", Len: 20},
		),
	},
	{
		Name: "hard links", Root: true, Over: Setup{Links: true, Upper: Layer{dir("up")}, Lower: []Layer{{
			dir("d"), sized("d/f", 9000), {Path: "d/g", LinkTo: "d/f"}, {Path: "h", LinkTo: "d/f"}, dir("e"), dir("merged"), file("merged/other"),
		}}},
		Ops: synced(write("d/f", 5, 100), rename("d/g", "e/g"), Op{Kind: opUnlink, Path: "d/f"}, Op{Kind: opStat, Path: "h"}),
	},
}
