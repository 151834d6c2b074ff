package snapshot

import (
	"context"

	"github.com/plyfs/plyfs/fs/layer"
)

// Mounter mounts unions and keeps them served, whatever becomes of this
// process. Directories are absolute and clean, and each is a mount point of
// its own that the caller has made.
//
// Every method answers when its ctx ends. What it had begun by then and can't
// take back at once is undone (a mount) or goes on (the rest) behind it, and the
// next call for the directory waits for that.
type Mounter interface {
	// Mount mounts the union on dir. After an error nothing is mounted there.
	Mount(ctx context.Context, dir string, o *layer.Options) error
	// Unmount takes the mount on dir out of the tree, also one that is in use
	// or whose server is dead; whoever holds it goes on with it. It returns
	// when the layers are no longer used, as long as nobody holds the mount.
	// No mount is no error.
	Unmount(ctx context.Context, dir string) error
	// Served lists the directories that have a mount with a living server.
	Served(ctx context.Context) (map[string]bool, error)
	// Serves says whether dir has a mount with a living server.
	Serves(ctx context.Context, dir string) (bool, error)
	// Sync has the kernel write back what was written to the mount on dir and
	// waits for it, so that the upper layer has it. The error is that of a
	// write that failed. No mount is no error.
	Sync(ctx context.Context, dir string) error
	// Usage is what the server of the mount on dir has counted, without asking
	// it; ok is false when there is no such mount or nothing was counted.
	Usage(ctx context.Context, dir string) (u Usage, ok bool, err error)
	// Lost gets a value whenever a server ended with mounts left behind. One
	// value may stand for several.
	Lost() <-chan struct{}
}

// Usage is what an upper layer takes.
type Usage struct {
	Bytes, Inodes int64
}
