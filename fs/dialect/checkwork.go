package dialect

import (
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// checkWork looks at a work directory: workdir itself and the work/ in it,
// not at what lies deeper.
func (c *checker) checkWork(workdir int) {
	c.each(workdir, "", func(dir int, name string) {
		switch name {
		case "work":
			c.each(dir, name, c.workEntry)
		case "index":
			// The kernel's, of index=on mounts.
		case "plyfs":
			// Ours.
		default:
			if isDecimal(name) {
				c.add(name, Leftover, SevWarning, "temporary object of fuse-overlayfs")
				return
			}
			c.add(name, WorkEntry, SevWarning, "nothing that belongs in a work directory")
		}
	})
}

// workEntry looks at one entry of work/.
func (c *checker) workEntry(dir int, name string) {
	switch {
	case name == "incompat":
		c.each(dir, name, func(_ int, feature string) {
			detail := "a feature that this version doesn't know: the kernel refuses to mount"
			if feature == "volatile" {
				detail = "a mount with volatile was not synced: check the upper, then remove the workdir's content"
			}
			c.add(feature, Volatile, SevError, detail)
		})
	case name[0] == '#':
		var st sys.Stat
		if sys.StatAt(dir, name, &st) == 0 && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			c.add(name, Leftover, SevInfo, "the whiteout that others are links of; the next mount removes it")
			return
		}
		c.add(name, Leftover, SevWarning, "temporary object; the next mount removes it")
	case isDecimal(name):
		c.add(name, Leftover, SevWarning, "temporary object of fuse-overlayfs; the next mount removes it")
	default:
		c.add(name, Leftover, SevWarning, "unknown object; the next mount removes it")
	}
}

// each calls fn for each entry of name in dir ("" = dir itself). Paths of what
// fn reports are below it.
func (c *checker) each(dir int, name string, fn func(dir int, name string)) {
	open := name
	if open == "" {
		open = "."
	}
	fd, e := sys.Open(dir, open, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if e != 0 {
		c.add(name, Unreadable, SevWarning, e.Error())
		return
	}
	defer sys.Close(fd)
	if name != "" {
		c.path = append(c.path, name)
		defer func() { c.path = c.path[:len(c.path)-1] }()
	}
	e = sys.ReadDir(fd, make([]byte, smallBatch), func(n string, _ uint64, _ uint8) bool {
		fn(fd, string([]byte(n))) // n is valid during this call only, and each nests
		return true
	})
	if e != 0 {
		c.add("", Unreadable, SevWarning, e.Error())
	}
}

// isDecimal: fuse-overlayfs counts its temporary names up from 1.
func isDecimal(name string) bool {
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return false
		}
	}
	return name != ""
}
