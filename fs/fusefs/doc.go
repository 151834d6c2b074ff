// Package fusefs translates FUSE requests to the merged tree and its answers
// back: the transport, the INIT negotiation, the mounting and unmounting. It
// knows nothing of layers: everything that a request means is asked of a [Tree],
// which union.FS is.
//
// # Who decodes what
//
// The wire types are our own (internal/fuse); ops.go lists the requests. They are
// decoded with no allocation: names are strings that lie in the request buffer,
// the structs handed to the Tree belong to the reader. Every request is bounds-checked before anything looks into it; a malformed one
// is answered EINVAL or EIO. A panic in a handler is EIO for that request, its
// stack goes to the log, and the server lives on.
//
// # Open files
//
// As a rule OPEN is answered ENOSYS and never comes again. With io=passthrough it
// is served: the Tree says how a file is open, and the kernel may get the layer's
// own (passthrough.go, and fs/union/open.go for what that asks of the tree).
//
// # Goroutines
//
//   - readers: one, and more while that one waits for a disk or can't keep up
//     ([crew] has the rules). Each reads a request, handles it and writes the
//     reply, in its own buffers.
//   - slow tasks: what may take long (fsync, copies, the first write to a lower
//     file: [slow.go] has the rules) is copied out of the reader's buffer and
//     handled on a goroutine of its own, at most maxSlow at a time, the others
//     wait in a queue. So a look-up never waits for an fsync.
//
// Serve returns when the kernel says that the mount is gone and the last slow
// task has ended; nothing is left running then, and the descriptor is closed.
//
// # Locks
//
// None of these is held while the Tree is called, and none is taken while
// another is held:
//
//	crew.mu       who reads
//	slowPool.mu   the queue of slow tasks
//	tracer.mu     one trace line at a time
//
// The negotiated settings are an atomic pointer, written once, by INIT.
package fusefs
