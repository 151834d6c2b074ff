// Package load has plyfs serve more than is good for it: many processes, many mounts,
// few descriptors, little memory, a layer of millions of files. It may slow down; no call
// fails, no byte is wrong, and the server stays. In CI each is short; `make soak` has
// all of it.
package load
