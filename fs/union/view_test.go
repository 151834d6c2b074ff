package union

import (
	"sort"
	"strconv"
	"strings"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// names collects directory entries, at most max a call.
type names struct {
	max  int
	list []string
	last uint64
	got  []Entry
}

func (s *names) Add(name string, _ uint64, _ uint32, next uint64) bool {
	if s.max == 0 {
		return false
	}
	s.max--
	s.list, s.last = append(s.list, strings.Clone(name)), next
	return true
}

func (s *names) Room(string) bool { return s.max > 0 }

func (s *names) AddPlus(name string, e *Entry, _ uint64, _ uint32, next uint64) {
	s.max--
	s.list, s.last = append(s.list, strings.Clone(name)), next
	s.got = append(s.got, *e)
}

// list is a directory's names without "." and "..", sorted, read in pieces.
func (c *client) list(id node.ID, piece int) []string {
	c.t.Helper()
	all, e := c.tryList(id, piece)
	c.check("readdir", e)
	return all
}

func (c *client) tryList(id node.ID, piece int) ([]string, syscall.Errno) {
	var all []string
	for off := uint64(0); ; {
		s := names{max: piece}
		if e := c.fs.ReadDir(id, off, false, &s); e != 0 {
			return nil, e
		}
		if len(s.list) == 0 {
			break
		}
		all, off = append(all, s.list...), s.last
	}
	out := all[:0]
	for _, n := range all {
		if n != "." && n != ".." {
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out, 0
}

// tree is the whole view as text: path, type and mode, owner, size, target,
// content.
func (c *client) tree() string {
	c.t.Helper()
	var lines []string
	var walk func(id node.ID, path string)
	walk = func(id node.ID, path string) {
		for _, n := range c.list(id, 50) {
			var e Entry
			c.check("look-up of "+path+n, c.fs.Lookup(id, n, &e))
			c.got(e.Node)
			a := e.Attr
			line := path + n + " " + strconv.FormatUint(uint64(a.Mode), 8)
			switch a.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				line += " " + strconv.FormatUint(uint64(a.Nlink), 10) + " " + strconv.Quote(c.read(e.Node))
			case unix.S_IFLNK:
				target, errno := c.fs.Readlink(e.Node)
				c.check("readlink "+path+n, errno)
				line += " -> " + target
			}
			lines = append(lines, line)
			if a.Mode&unix.S_IFMT == unix.S_IFDIR {
				walk(e.Node, path+n+"/")
			}
		}
	}
	walk(node.Root, "")
	return strings.Join(lines, "\n")
}
