package hostile

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// isErrno says whether err is, or wraps, the errno.
func isErrno(err error, want unix.Errno) bool {
	var e unix.Errno
	return errors.As(err, &e) && e == want
}

// treexattrs lists the xattrs of a name that a test would set.
func treexattrs(p string) ([]string, error) { return treedump.Xattrs(p) }
