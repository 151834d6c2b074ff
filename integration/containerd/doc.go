// Package containerd runs real containerds on the snapshotter: Debian's 1.6 and
// the newest from Go modules (../peers pins it), each with its own root, state
// and socket, and a daemon of ours beside it. Images are made by the tests.
//
// The programs are brought once and kept in the cache ($PLYFS_CACHE). Nothing
// is installed, and no service of the machine is touched.
package containerd
