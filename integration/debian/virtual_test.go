package debian

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// unpackVirtual unpacks a root the way containers/storage does it for a user
// who owns one id: every file belongs to the user, and its owner and mode are
// data, in user.containers.override_stat. Symlinks can't carry any.
func unpackVirtual(t *testing.T, archive, dir string, u *harness.User) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = unpackOne(r, h, dir, u)
		}
		if err != nil {
			t.Fatalf("unpacking %s: %v", archive, err)
		}
	}
}

func unpackOne(r io.Reader, h *tar.Header, dir string, u *harness.User) error {
	name := filepath.Clean(h.Name)
	path := filepath.Join(dir, name)
	if strings.HasPrefix(name, "dev/") { // the machine's own /dev is put there
		return nil
	}
	real := uint32(0o644)
	switch h.Typeflag {
	case tar.TypeDir:
		real = 0o755
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	case tar.TypeReg:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		real |= uint32(h.Mode & 0o111)
	case tar.TypeSymlink:
		return errors.Join(os.Symlink(h.Linkname, path), os.Lchown(path, u.UID, u.GID))
	case tar.TypeLink:
		return os.Link(filepath.Join(dir, filepath.Clean(h.Linkname)), path)
	default:
		return fmt.Errorf("%s: no file of type %q was expected", h.Name, h.Typeflag)
	}
	stat := fmt.Sprintf("%d:%d:%o", h.Uid, h.Gid, h.Mode&0o7777)
	return errors.Join(
		os.Chown(path, u.UID, u.GID),
		unix.Chmod(path, real),
		unix.Setxattr(path, "user.containers.override_stat", []byte(stat), 0),
		os.Chtimes(path, h.ModTime, h.ModTime),
	)
}
