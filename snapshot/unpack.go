package snapshot

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"
)

// UnpackOptions say what a layer directory is for.
type UnpackOptions struct {
	// Base says that nothing lies below: deletions mean nothing.
	Base bool
	// User writes deletions in the form that a user namespace may write.
	User bool
	// Filter sees every header first, and may change it.
	Filter func(*tar.Header) (bool, error)
}

// Unpack writes the tar stream of a layer to a directory of its own, in the
// form of kernel overlayfs. It is what [Differ] does for a snapshot, for those
// who keep layers without containerd.
func Unpack(ctx context.Context, dir string, in io.Reader, o UnpackOptions) error {
	_, err := archive.Apply(ctx, dir, in, archive.WithFilter(o.Filter), archive.WithConvertWhiteout(o.mark))
	return err
}

// mark turns a deletion of the tar format into one of overlayfs. What the same
// layer has under the name stays: deletions are about what lies below.
func (o *UnpackOptions) mark(hdr *tar.Header, path string) (bool, error) {
	base := filepath.Base(path)
	if !strings.HasPrefix(base, ".wh.") {
		return true, nil
	}
	if o.Base {
		return false, nil
	}
	if base != ".wh..wh..opq" {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(path), base[len(".wh."):])); err == nil {
			return false, nil
		}
	}
	convert := archive.OverlayConvertWhiteout
	if o.User {
		convert = convertWhiteout
	}
	owner := *hdr
	owner.Uid, owner.Gid = 0, 0
	write, err := convert(&owner, path)
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	return write, err
}
