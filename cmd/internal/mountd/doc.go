// Package mountd is the server process of snapshot/servers: it opens layers,
// mounts unions and serves them, many in one process.
//
// server.mu protects the mounts of the process, mounted.use a tree that is asked
// something while its mount may end; nothing else is taken and no
// file is touched while it is held.
package mountd
