package sandbox

import (
	"github.com/plyfs/plyfs/fs/dialect"
)

// unknownType is that of what was deleted from layers that nobody knows.
const unknownType = "unknown"

// copiedUp says whether an object of the upper came from a layer below: it
// carries the record of its origin.
func copiedUp(dirfd int, name string) bool {
	return anyXattr(dirfd, name, dialect.NSUser.Origin(), dialect.NSTrusted.Origin(),
		dialect.NSUser.Plyfs(), dialect.NSTrusted.Plyfs(), dialect.FuseOrigin)
}

// bare makes the change of an object of an upper whose layers aren't known: what
// was copied up has changed in one way or another. A directory that was is none:
// what is in it tells.
func (w *walker) bare(up int, name string, c *Change, o *object) *Change {
	if !copiedUp(up, name) {
		return c
	}
	if o.dir() {
		return nil
	}
	c.Kind, c.What = Changed, []string{content}
	return c
}

// unknown says that nobody knows what was there before.
func (c *Change) unknown() bool { return c.Kind != Added && c.before == nil }
