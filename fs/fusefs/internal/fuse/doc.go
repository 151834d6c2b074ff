// Package fuse has the structs and constants of the FUSE protocol that the
// server uses, as include/uapi/linux/fuse.h lays them out, and nothing else: it
// is linked into the start of every container and costs that nothing. Each struct
// of a request begins with the request's header.
//
// Structs are cast onto buffers: what is here can't be reordered. layout_test.go
// holds them against those of go-fuse.
package fuse
