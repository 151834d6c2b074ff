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
// A File is the index of a whole stack of lowers that doesn't change any more,
// with the attributes of everything in it (format.go): a Writer makes it, directory by
// directory, and every process maps the same memory. Its Dirs are the mapping
// itself, so they may be read and cloned, and not changed. What is read of a
// File is checked first, whoever made it (check.go).
//
// The package touches no layer and holds no locks: a Dir belongs to whoever holds
// its directory's lock, and a File never changes.
package index
