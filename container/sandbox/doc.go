// Package sandbox is what a throw-away view of the host leaves: an upper
// directory, and what to do with it. It says what differs from the host, as a
// list, as statistics, as a patch; it puts changes on the host; it keeps
// checkpoints of the upper and goes back to them. It also makes the small layer
// that lies between the upper and the host's root: what is hidden, and what is
// there for programs that would not work otherwise.
//
// It knows neither FUSE nor processes: it reads an upper that no mount is
// writing to (or one that was synced), in the form that a live mount of
// fs/union writes, beside the tree that was the lower. Both are open
// directories, and all is done by descriptor and name: no symbolic link is
// followed, on either side.
//
// # Putting changes on the host
//
// Three rules come before all others:
//
//   - What the sandbox did not see is not touched: hidden and passed-through
//     paths, other mounts, and the directory of the sandboxes itself
//     ([View.Protected]). A directory that is deleted keeps them.
//   - What the host has changed meanwhile is a conflict ([dialect.Base], and
//     for what has no such record the time of the sandbox's start). Conflicts are
//     found before anything is done, and looked for again just before a file is
//     replaced; only force goes over them.
//   - A file is replaced by one rename, complete and synced.
//
// The package holds no locks: who calls it holds the sandbox's.
package sandbox
