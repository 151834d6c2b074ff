// Package ship moves images: from registries and archives into the store of
// package image and out of it, and makes them of what containers have changed.
// It does in one process of its own what needs a network, hashes and
// decompressors, so that nothing of that is on the start path of a container.
//
// What comes from outside is used after its digest was compared with the one
// that it was asked for by, and unpacked by an [Unpacker] in a directory that
// nobody sees until it is whole. This process is root over the ids of the
// image: the host's root, or that of a user namespace.
//
// The store's order of locks holds; within the process, goroutines that unpack
// wait only for layers below theirs.
package ship
