// Package node is the table of nodes that the kernel knows: what FUSE calls
// nodeids, each with its place in the merged tree, its layer and its number of
// look-ups. It knows nothing of files; fs/union gives the fields their meaning.
//
// The table lives in memory that is not the Go heap: fixed-size records and an
// arena of long names in two memfds, addressed by index and without pointers.
// That costs the garbage collector nothing, gives memory back when the kernel
// forgets, and survives the server: whoever holds the descriptors can map the
// same table (nothing that a later server needs lives only in the Go heap; the
// hash tables are derived from the records).
//
// Record 0 is the header. A record is published by its state word, written
// last; operations that change two records go through the redo slot in the
// header. Both need program order only, no fences: a server's death leaves
// memory as the last store left it.
//
// Lock order:
//
//	moveMu
//	  shard.mu (two at a time only in Move, by shard number)
//	    linkMu
//	      allocMu
//
// The fields of a Rec that change (see Rec) are protected by the caller; the
// name and parent of a hashed record change only in Move, under both the
// caller's lock and the shards'.
package node
