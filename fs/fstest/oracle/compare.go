package oracle

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// compare takes both pictures and fails the sequence where they differ.
func (s *sequence) compare(when string, whole bool) (k, p *treedump.Tree) {
	defer s.watch("the picture " + when)()
	var err error
	if k, err = treedump.Take(s.k.Args.Dir); err == nil {
		p, err = treedump.Take(s.p.Args.Dir)
	}
	if err != nil {
		s.fail("%s: %v", when, err)
	}
	if s.setup.Extra == "live" {
		for _, n := range k.Nodes { // after an exchange: to the kernel they are a user's
			n.Xattrs = slices.DeleteFunc(n.Xattrs, func(x string) bool { return strings.HasPrefix(x, dialect.BaseXattr+"=") })
		}
	}
	if d := treedump.Diff(s.k.FS.Name(), k, s.p.FS.Name(), p, s.wanted); len(d) > 0 {
		s.fail("the trees differ %s:\n  %s", when, strings.Join(d, "\n  "))
	}
	if !s.selfTest() {
		if bad := append(contradictions(p, s.setup.Links), p.Problems...); len(bad) > 0 {
			s.fail("%s contradicts itself %s:\n  %s", s.p.FS.Name(), when, strings.Join(bad, "\n  "))
		}
	}
	return k, p
}

// contradictions are what the kernel may show and plyfs may not: names that
// cannot be found, link counts that do not count (1 says for a directory that
// nobody counts). Of the hard links of a lower
// layer, others may hide some names.
func contradictions(t *treedump.Tree, lowerLinks bool) []string {
	var out []string
	names := make(map[uint64]uint64)
	for _, n := range t.Nodes {
		if n.Type != unix.S_IFDIR {
			names[n.Ino]++
		}
	}
	for _, path := range t.Paths() {
		n := t.Nodes[path]
		switch {
		case n.Type == 0:
			out = append(out, path+" is listed and does not exist")
		case n.Type == unix.S_IFDIR && n.Nlink != 1 && n.Nlink != uint64(2+n.Subdirs):
			out = append(out, fmt.Sprintf("%s has %d subdirectories and link count %d", path, n.Subdirs, n.Nlink))
		case n.Type != unix.S_IFDIR && !lowerLinks && n.Nlink != names[n.Ino]:
			out = append(out, fmt.Sprintf("%s has %d names and link count %d", path, names[n.Ino], n.Nlink))
		}
	}
	return out
}

// mounted says whether something is mounted on the side's mount point.
func (s *Side) mounted() bool {
	var here, up unix.Stat_t
	if err := unix.Lstat(s.Args.Dir, &here); err != nil {
		// A mount whose server is dead cannot be looked at, and is one.
		return treedump.ErrName(err) != "ENOENT"
	}
	return unix.Lstat(s.Args.Dir+"/..", &up) == nil && here.Dev != up.Dev
}
