// Package union is the merged tree and its semantics: a stack of read-only
// layers and, if there is one, a copy-on-write upper layer. It knows neither FUSE nor
// containers. The oracle is the kernel's overlayfs: for any state on disk that
// it accepts, the view, the result of every operation and the upper that is
// left are the same; what differs on purpose is in docs/semantics.md.
//
// A node is an inode of the merged tree that a client knows, in the table of
// fs/node. For a directory the heap holds a dir as well: the lower directories
// that are merged into it and, when something was looked up in it, the
// merged index of its names. Where an object is follows from its record: a
// name in a parent directory in one layer. Descriptors of directories and
// files are cached (fdCache), everything else is asked of the layers.
//
// Errors are plain errno values.
//
// Lock order:
//
//	flight of a node (copyUp)      no lock at all is held when one is awaited
//	  FS.renameMu                  W: renames that move a directory or cross two; R: all that resolves places
//	    dir.mu                     the names in a directory; parent before child, two in a rename (renameMu is W then)
//	      FS.newDirMu                making a node for a directory
//	      FS.hardMu                making a node for a file with several names
//	        FS.loc(node)           place and state of a node; striped, two in a rename by stripe
//	          workDir.mu, inoMap.mu, metaPaths.mu, dirTable shards
//	          locks of fs/node
//	          fdCache shards
//	quota.files                      around one change of a file's data, when blocks are counted
//
// A system call under dir.mu is one on names of that directory. Data is
// copied, read, written and synced with no lock held.
package union
