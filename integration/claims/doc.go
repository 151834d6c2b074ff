// Package claims holds the README's tables of who can do what to what the
// programs of this machine do: each cell is tried, for plyfs, kernel overlayfs,
// fuse-overlayfs, bubblewrap and podman alike.
package claims
