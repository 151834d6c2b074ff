package oracle

import (
	"path"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Difference is one wanted difference between the kernel and plyfs. Every one
// that a user can meet is a line of docs/semantics.md, too.
type Difference struct {
	Name   string
	Reason string
	// Tree says that this difference explains two nodes that disagree.
	// Either may be nil, when field is "exists". Nil = never.
	Tree func(s *sequence, field string, kernel, plyfs *treedump.Node) bool
	// Op says that this difference explains two results. Nil = never.
	Op func(s *sequence, o *Op, kernel, plyfs Result) bool
	// Stop says that after such a result the trees differ, too, so that
	// the sequence ends without a verdict.
	Stop bool
}

// Differences are all that are wanted.
var Differences = []Difference{
	{
		Name: "directory link counts",
		Reason: "Which directories answer 1, which is allowed and means that nobody counts, is another in each. " +
			"That any other count is right is checked of plyfs on its own.",
		Tree: func(_ *sequence, field string, k, p *treedump.Node) bool {
			return field == "nlink" && k.Type == unix.S_IFDIR && p.Type == unix.S_IFDIR
		},
	},
	{
		Name: "inode numbers of hard links",
		Reason: "Under the kernel two names of one file may show two inode numbers until the next mount, when one was " +
			"looked up before it was copied up. That plyfs shows one number is checked on its own.",
		Tree: func(_ *sequence, field string, _, _ *treedump.Node) bool { return field == "links" },
	},
	{
		Name: "link counts of lower hard links",
		Reason: "The kernel (with index=on) copies a file up to note that one of its names was removed. plyfs copies nothing to " +
			"remove a name: the file shows the layer's count where it was not known when the name went.",
		Tree: func(s *sequence, field string, k, p *treedump.Node) bool {
			return s.setup.Links && field == "nlink" && p.Nlink > k.Nlink
		},
		Op: func(s *sequence, _ *Op, k, p Result) bool {
			return s.setup.Links && k.Errno == p.Errno && noNlink(k) == noNlink(p)
		},
	},
	{
		Name: "copying within a file that the kernel holds twice",
		Reason: "A lower file that was looked up, linked and then written through the new name has two inodes under the kernel " +
			"without index, and the first one keeps the old size: copy_file_range reads nothing there. In plyfs it is one file, and " +
			"ranges of one file that overlap are EINVAL, as copy_file_range(2) says.",
		Op: func(_ *sequence, o *Op, k, p Result) bool {
			return o.Kind == opCopy && o.Path == o.To && o.Off/2+o.Len > o.Off && p.Errno == "EINVAL" &&
				k.Errno == "ok" && strings.HasPrefix(k.Detail, "n=0") && k.After == p.After
		},
	},
	{
		Name: "link count of a removed file",
		Reason: "A file that was opened for reading in a lower layer and then removed, or a device there, has link count 0, as " +
			"everywhere; the kernel shows the lower file's.",
		Op: func(_ *sequence, o *Op, k, p Result) bool {
			return (o.Kind == opHeldStat || o.Kind == opGone) && strings.Contains(p.Detail, " nlink=0 ") && noNlink(k) == noNlink(p)
		},
	},
	{
		Name: "whiteouts listed",
		Reason: "The kernel lists the whiteouts of a directory that merges with nothing, and then finds no file of that name; " +
			"plyfs does not list what is not there.",
		Tree: func(_ *sequence, field string, k, p *treedump.Node) bool {
			return field == "exists" && p == nil && k.Type == 0
		},
		Op: func(_ *sequence, o *Op, k, p Result) bool {
			return o.Kind == opReaddir && k.Errno == "ok" && p.Errno == "ok" && k.After == p.After && withoutWhiteouts(k.Detail) == p.Detail
		},
	},
	{
		Name: "rename between names of one file",
		Reason: "It does nothing, and answers so. The kernel does not know one file in two names when one was made by linking a " +
			"lower file, and answers ESTALE, or EINVAL to flags.",
		Op: func(s *sequence, o *Op, k, p Result) bool {
			return o.Kind == opRename && (k.Errno == "ESTALE" || k.Errno == "EINVAL") && p.Errno == "ok" && k.After == p.After && s.p.inode(o.Path) == s.p.inode(o.To)
		},
	},
	{
		Name: "removing an ACL that is not there",
		Reason: "Both answers say the same. The kernel's depends on whether the file is copied up, which happens at another time " +
			"in plyfs.",
		Op: func(_ *sequence, o *Op, k, p Result) bool {
			nothing := func(r Result) bool { return r.Errno == "ok" || r.Errno == "ENODATA" }
			return o.Kind == opDelxattr && strings.HasPrefix(o.Name, "system.posix_acl_") && nothing(k) && nothing(p) && k.After == p.After
		},
	},
	xattrWhiteouts,
}

var xattrWhiteouts = Difference{
	Name: "directories of xattr whiteouts",
	Reason: "The same whiteouts, in the form of an xattr, keep the kernel from removing such a directory, as if it were not " +
		"empty.",
	Op: func(s *sequence, o *Op, k, p Result) bool {
		dir := o.Path
		if o.Kind == opRename {
			dir = o.To
		}
		return (o.Kind == opRmdir || o.Kind == opRename) && k.Errno == "ENOTEMPTY" && p.Errno == "ok" && s.onlyWhiteouts(dir)
	},
	Stop: true,
}

// Details of operations that are not done because their outcome differs, and
// rightly so.
const (
	sameSize       = "has that size"
	mapsCapability = "has a capability"
)

// Avoided are differences that sequences keep away from, since they would go on
// to show in everything after.
var Avoided = []Difference{
	{
		Name: sameSize,
		Reason: "Whether truncating a file to the size that it has changes its mtime depends, under the kernel, on the layer's " +
			"filesystem, on the system call and on whether the file is copied up first; FUSE leaves the mtime alone.",
	},
	{
		Name: mapsCapability,
		Reason: "A mapping is written back to plyfs like any write, which takes a file capability away; under the kernel a " +
			"write(2) does that and a mapping doesn't.",
	},
	{
		Name: "fallocate that is not supported",
		Reason: "The kernel's FUSE sets mtime before it asks, so that a mode that the layer's filesystem refuses (zero-range on " +
			"tmpfs) still changes it.",
	},
	{
		Name: "attributes of a removed lower file",
		Reason: "fchmod of a lower file that was opened for reading and then removed brings its name back under the kernel, or " +
			"answers EEXIST.",
	},
	{
		Name: "chown to -1:-1",
		Reason: "It changes nothing and still clears suid and sgid. FUSE does not say so in its message, which is like the one " +
			"that follows every unlink.",
	},
	{
		Name: "xattrs of the other namespace",
		Reason: "plyfs understands trusted.overlay and user.overlay in its layers and so escapes both; the kernel escapes its " +
			"own and passes the other on.",
	},
}

// explain finds the wanted difference that two results show, or nil.
func (s *sequence) explain(o *Op, k, p Result) *Difference {
	for i := range Differences {
		if d := &Differences[i]; d.Op != nil && d.Op(s, o, k, p) {
			return d
		}
	}
	return nil
}

// wanted is a treedump.Ignore made of the table.
func (s *sequence) wanted(field string, k, p *treedump.Node) bool {
	for i := range Differences {
		if d := &Differences[i]; d.Tree != nil && d.Tree(s, field, k, p) {
			return true
		}
	}
	return false
}

// onlyWhiteouts says that the kernel finds nothing of what it lists in dir.
func (s *sequence) onlyWhiteouts(dir string) bool {
	ents, err := treedump.ReadDir(s.k.path(dir))
	var st unix.Stat_t
	for _, e := range ents {
		if unix.Lstat(s.k.path(path.Join(dir, e.Name)), &st) == nil {
			return false
		}
	}
	return err == nil
}

var nlinkText = regexp.MustCompile(` nlink=\d+`)

// noNlink is a result without the link counts in it.
func noNlink(r Result) string { return nlinkText.ReplaceAllString(r.String(), "") }

// withoutWhiteouts is a readdir's detail without the names that do not exist.
func withoutWhiteouts(detail string) string {
	var b strings.Builder
	for _, e := range strings.SplitAfter(detail, " ") {
		if !strings.Contains(e, listedOnly) {
			b.WriteString(e)
		}
	}
	return b.String()
}
