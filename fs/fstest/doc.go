// Package fstest is what the filesystem must do, as a library of small cases.
//
// A Case declares the lower layers that it wants to find and a function that
// works in its own directory of a mount. Run takes a Variant (a plain
// directory, kernel overlayfs, or plyfs with one set of options), builds the
// layers of all its cases at once, mounts once and runs every case that the
// variant can hold. A plain directory and kernel overlayfs are the oracles: a
// case that fails there is wrong, unless it says in Not or Differs why that
// oracle is not to be believed.
//
// After the cases, Run looks at what the whole run left behind: the lower
// layers untouched to the ctime, the same view after a second mount and under
// kernel overlayfs, an empty work directory, no process.
//
// The package may run the plyfs binary; it imports no other room, so that it
// can't agree with a fault of theirs.
//
// PLYFS_BIN names a ready binary, PLYFS_CASE (a regular expression on
// "family/case") picks cases before the layers are built, PLYFS_TRACE names a
// directory for the servers' request traces, PLYFS_KEEP=1 keeps the layers.
package fstest
