package union

import (
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// QuickRename says whether a rename of the name copies nothing up: it is known as
// a file of the upper layer. It may be another one when the rename comes.
func (fs *FS) QuickRename(parent node.ID, name string) bool {
	id := fs.t.Pin(parent.Index(), name)
	if id == node.None {
		return false
	}
	r := fs.t.Rec(id.Index())
	quick := r.Has(node.Upper) && r.Type != unix.DT_DIR && !r.Has(node.Meta)
	fs.t.Unpin(id)
	return quick
}
