// Package keeper is the process that a mount outlives its server by. It holds
// the mount's /dev/fuse and everything else that a server needs to go on
// (descriptors with names, whose content it doesn't know), starts another server
// when one dies, and aborts the connection when that doesn't help. It also is the
// other end of that: what a server says to its keeper.
//
// The keeper does as little as a process can: no goroutine works in it, it takes
// no lock, and touches none of the rooms above. So it imports nothing of the
// project, and its package is initialised before most of the program's.
//
//	keeper                                  server
//	-----------------------------------     ------------------------------------
//	start it ------------------------->     mount, INIT
//	          <------- keep NAME (fd) …     all that the next one will need
//	          <--------------- ready DEV    from now on the mount is to be kept
//	(it dies)
//	start another -------------------->
//	fd NAME (fd) … -------------------->
//	over ------------------------------>    reads the state's format
//	          <------------ able | unable
//	go WEIGHT ------------------------->    takes over, has the kernel send again
//	          <-------------------- bye     the mount is gone: so is the keeper
//
// Each message is a datagram of a socket pair, with at most one descriptor.
package keeper
