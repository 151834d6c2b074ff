// Package index is the merged index of a directory: which names the layers
// show, whether the upper or a lower layer has them, what a whiteout hides and
// where the next lower directory of the same name is. Lowers are immutable while mounted, so a
// directory is merged once; a look-up after that, found or not, touches no
// layer.
//
// A Dir holds no Go pointers but its slices: a directory of a million entries costs the
// garbage collector nothing. It is built by a Builder from the entries of each
// layer, top layer first, and then kept up to date by its owner for each change in the
// upper layer.
//
// The package does no I/O and holds no locks: a Dir belongs to whoever holds
// its directory's lock.
package index
