// Package fsck repairs and converts upper directories with the binary under
// test, looks at them with the kernel's overlayfs, fuse-overlayfs and plyfs before
// and after, and kills it in the middle.
package fsck
