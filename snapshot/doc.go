// Package snapshot is the containerd snapshotter: who is whose parent, where
// the directories of a snapshot are, what is mounted for it, and how all of
// that comes back after a crash. It knows containerd's interfaces, and of the
// filesystem only what is on disk: unions are mounted by a [Mounter], which the
// daemon plugs in.
//
// # On disk
//
//	ROOT/lock                  flock'ed by the process that uses ROOT; its pid
//	ROOT/metadata.db           bbolt, by containerd's core/snapshots/storage
//	ROOT/empty                 the lower layer of a snapshot without a parent
//	ROOT/snapshots/new-*       being made; nobody's until it is renamed
//	ROOT/snapshots/ID/fs       the layer: kernel overlayfs' form
//	ROOT/snapshots/ID/work     work directory (active snapshots)
//	ROOT/snapshots/ID/usage    what a committed layer takes, where it had to be walked
//	ROOT/snapshots/ID/index/   the index file of the chain that ends here, once a container runs on it
//	ROOT/trash/ID              removed; its space is being given back
//	STATE/m/ID                 where the union of an active or view snapshot is mounted
//
// A directory gets its name ID inside the metadata transaction that makes the
// record, and moves to the trash inside the one that deletes it; what a crash
// leaves between the two is put right by the next New. Nothing is deleted
// through a mount point ([deleteTree]).
//
// # Life of a snapshot
//
//	Prepare/View --> mounted (or nothing to mount) --> Commit --> committed
//	                          |                                      |
//	                          +----------> Remove --> trash <--------+
//
// A mount belongs to a server process, not to this one: Close leaves it.
//
// # Locks
//
//	idLocks[ID]            making and undoing the mount of one snapshot
//	  Snapshotter.writer   who may have the metadata transaction that writes
//	    that transaction of bbolt
//	Snapshotter.mu         the set of background jobs; nothing is called under it
//
// Mounting, unmounting, syncing, counting and deleting are done outside of
// transactions; inside there are mkdir and rename. Whoever waits for a lock does
// so as long as its context goes on; a call whose context ends has done nothing,
// or all.
package snapshot
