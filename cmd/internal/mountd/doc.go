// Package mountd is the server process of snapshot/servers: it opens layers,
// mounts unions and serves them, many in one process.
//
// server.mu protects the mounts of the process; nothing else is taken and no
// file is touched while it is held.
package mountd
