package union

import (
	"iter"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// UpperFiles are the paths of the regular files in the upper layer that the
// kernel holds: those it may have unwritten data of. A file with several names
// is there by one of them; one that has none left is not there. What is renamed
// meanwhile may be missing.
func (fs *FS) UpperFiles() iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := range fs.t.Live() {
			if name, ok := fs.upperFile(id); ok && !yield(name) {
				return
			}
		}
	}
}

func (fs *FS) upperFile(id node.ID) (string, bool) {
	fs.renameMu.RLock()
	r := fs.t.Get(id)
	ok := r != nil && r.Has(node.Upper) && !r.Has(node.Dead) && (r.Type == unix.DT_REG || r.Type == 0)
	fs.renameMu.RUnlock()
	if !ok {
		return "", false
	}
	name := fs.Name(id)
	return name[1:], name != "/" && name != "?"
}
