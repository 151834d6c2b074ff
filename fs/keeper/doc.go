// Package keeper is the process that a mount outlives its server by. It holds
// the mount's /dev/fuse and everything else that a server needs to go on
// (descriptors with names, whose content it doesn't know), starts another server
// when one dies, and aborts the connection when that doesn't help. It also is the
// other end of that: what a server says to its keeper.
//
// The keeper does as little as a process can: it waits for what happens and does
// that, and touches none of the rooms above. So it imports nothing of the
// project, and its package is initialised before most of the program's.
//
//	keeper                                  server
//	-----------------------------------     ------------------------------------
//	start it ------------------------->     mount, INIT
//	          <------- keep NAME (fd) …     all that the next one will need
//	          <----------- ready DEV DIR    from now on the mount is to be kept
//	(it dies)
//	start another -------------------->
//	fd NAME (fd) … -------------------->
//	over ------------------------------>    reads the state's format
//	          <------------ able | unable
//	go WEIGHT ------------------------->    takes over, has the kernel send again
//	          <-------------------- bye     the mount is gone: so is the keeper
//
// A server of the snapshotter has many mounts: the names of what a mount needs
// begin with its number (7/fuse), "ready" names it, and "drop" says that it is gone.
// One process keeps many such servers, each in a goroutine that shares nothing with
// the others (many.go); systemd holds copies of all that in its store, so that this
// process, too, may die (store.go).
//
// Each message is a datagram of a socket pair, with at most one descriptor.
package keeper
