package union

import (
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
)

// upperOrder knows whether the upper file system keeps the order of changes.
type upperOrder struct {
	once sync.Once
	kept bool
}

// ordered says whether data that was written out is there after a power loss
// whenever a later change of the upper layer is. Asked first by the first copy-up
// with data: a mount that only reads pays nothing for it.
func (fs *FS) ordered() bool {
	o := &fs.journal
	o.once.Do(func() { o.kept = sys.Ordered(fs.layers[0].dev) })
	return o.kept
}

// syncCopy has the data of a copy come before its name, or its mark, in whatever
// a power loss leaves. Overlayfs does it by fsync(2), which waits for a commit of
// the journal as well: most of the time of a small copy-up. Where the journal
// keeps the order the data alone is enough, and the commit may come when it comes.
func (fs *FS) syncCopy(fd int) syscall.Errno {
	if fs.o.Fsync != layer.FsyncStrict && fs.ordered() {
		if e := sys.WriteOut(fd); e == 0 {
			return 0
		}
	}
	return sys.Fsync(fd)
}
