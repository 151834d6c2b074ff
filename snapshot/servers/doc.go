// Package servers keeps unions mounted in processes of their own, for a daemon
// that comes and goes. One server process serves many mounts; it outlives the
// daemon, and ends when it has neither mounts nor a daemon. This is the daemon's
// side and the language between them; it is the Mounter of a Snapshotter.
//
//	daemon (Pool)                          server process (cmd/internal/mountd)
//	-----------------------------------    -----------------------------------
//	makes STATE/s/N.sock, starts itself
//	again with the socket as fd 3 -------> listens
//	watch  ------------------------------> a connection that stays: its end
//	                                       tells either that the other is gone
//	mount{dir, options} -----------------> opens layers, mounts, serves
//	table -------------------------------> passes the memory that it counts in:
//	                                       usage is read there
//	serves, files, counts ---------------> asks the union of a mount
//	umount2(dir)                           sees that its mount is gone,
//	gone{dir} ---------------------------> answers when the layers are closed
//	(killed, started again)                goes on
//	finds STATE/s/*.sock, watch ---------> the same mounts, a new daemon
//
// Messages are JSON values on a stream, one answer to each request. Whoever may
// open the socket may have anything mounted, so its directory is 0700.
//
// Lock order:
//
//	Pool.turns             one thing at a time for a directory, see alone
//	Pool.starting          the making of a server process
//	  Pool.mu              the set of servers, and where each directory is served; no call under it
//	quickConn.mu           one request at a time on the connection that stays
//	  conn.mu              the same, of any connection
package servers
