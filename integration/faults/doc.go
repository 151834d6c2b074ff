// Package faults has the file system below the upper directory fail in the middle
// of operations: full, read-only, over quota, a disk that can't be written. The
// operation gets that errno, the view stays whole, and the server stays up.
//
// The disk that fails is another plyfs with a failpoint in it.
package faults
