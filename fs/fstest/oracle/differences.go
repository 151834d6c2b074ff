package oracle

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Difference is one wanted difference between the kernel and plyfs. Every one
// is a line of docs/semantics.md, too.
type Difference struct {
	Name   string
	Reason string
	// Tree says that this difference explains two nodes that disagree.
	// Either may be nil, when field is "exists". Nil = never.
	Tree func(field string, kernel, plyfs *treedump.Node) bool
	// Op says that this difference explains two results.
	Op func(m *Mode, o *Op, kernel, plyfs Result) bool
	// Stop says that after such a result the trees differ, too, so that
	// the sequence ends without a verdict.
	Stop bool
}

// Differences are all that are wanted.
var Differences = []Difference{
	{
		Name: "directory link counts",
		Reason: "The kernel answers 1 for a merged directory; plyfs counts the subdirectories, as every filesystem does. " +
			"That the count is right is checked on its own.",
		Tree: func(field string, k, p *treedump.Node) bool {
			return field == "nlink" && k.Type == unix.S_IFDIR && p.Type == unix.S_IFDIR
		},
	},
	{
		Name: "inode numbers of hard links",
		Reason: "Under the kernel two names of one file may show two inode numbers until the next mount, when one was " +
			"looked up before it was copied up. That plyfs shows one number is checked on its own.",
		Tree: func(field string, k, p *treedump.Node) bool { return field == "links" },
	},
	{
		Name: "whiteouts listed",
		Reason: "The kernel lists the whiteouts of a directory that merges with nothing, and then finds no file of that name; " +
			"plyfs does not list what is not there.",
		Tree: func(field string, k, p *treedump.Node) bool {
			return field == "exists" && p == nil && k.Type == 0
		},
		Op: func(_ *Mode, o *Op, k, p Result) bool {
			return o.Kind == opReaddir && k.Errno == "ok" && p.Errno == "ok" && k.After == p.After && withoutWhiteouts(k.Detail) == p.Detail
		},
	},
}

// explain finds the wanted difference that two results show, or nil.
func explain(m *Mode, o *Op, k, p Result) *Difference {
	for i := range Differences {
		if d := &Differences[i]; d.Op != nil && d.Op(m, o, k, p) {
			return d
		}
	}
	return nil
}

// wanted is a treedump.Ignore made of the table.
func wanted(field string, k, p *treedump.Node) bool {
	for i := range Differences {
		if d := &Differences[i]; d.Tree != nil && d.Tree(field, k, p) {
			return true
		}
	}
	return false
}

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
