package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Store is the images below a data directory.
type Store struct{ dir string }

// Open gives the store of a data directory. It makes nothing.
func Open(root string) *Store { return &Store{filepath.Join(root, "images")} }

// Dir is where the store lies.
func (s *Store) Dir() string { return s.dir }

// Root is the data directory that it is in.
func (s *Store) Root() string { return filepath.Dir(s.dir) }

// Make makes the directories of an empty store.
func (s *Store) Make() error {
	for _, d := range []string{"blobs/sha256", "partial", "layers"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return fmt.Errorf("image store: %w; --root names another place", err)
		}
	}
	layout := filepath.Join(s.dir, "oci-layout")
	if _, err := os.Lstat(layout); err == nil {
		return nil
	}
	return writeFile(layout, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// Blob is the file of a blob, whose digest is checked.
func (s *Store) Blob(digest string) (string, error) {
	hex, err := digestHex(digest)
	return filepath.Join(s.dir, "blobs/sha256", hex), err
}

// Layer is the directory of an unpacked layer; its tree is fs below it.
func (s *Store) Layer(chain string) (string, error) {
	hex, err := digestHex(chain)
	return filepath.Join(s.dir, "layers", hex), err
}

// Partial is the file that a blob is fetched into.
func (s *Store) Partial(digest string) (string, error) {
	hex, err := digestHex(digest)
	return filepath.Join(s.dir, "partial", hex), err
}

// digestHex keeps what isn't a digest from being a path.
func digestHex(digest string) (string, error) {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	odd := strings.ContainsFunc(hex, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
	if !ok || len(hex) != 64 || odd {
		return "invalid", fmt.Errorf("%.100q is not a digest that plyfs knows: want sha256: and 64 hexadecimal digits", digest)
	}
	return hex, nil
}

// Use keeps everything in the store where it is until the result is closed.
func (s *Store) Use() (*os.File, error) { return s.lock("use.lock", unix.LOCK_SH) }

// Sweeper waits until nobody uses the store, and keeps others out; without
// waiting, the result is nil when somebody does.
func (s *Store) Sweeper(wait bool) (*os.File, error) {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	f, err := s.lock("use.lock", how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return f, err
}

// Lock takes the lock of one blob ("partial/HEX.lock") or layer.
func (s *Store) Lock(name string) (*os.File, error) { return s.lock(name, unix.LOCK_EX) }

// lock takes a lock file; one that was unlinked meanwhile is none.
func (s *Store) lock(name string, how int) (*os.File, error) {
	path := filepath.Join(s.dir, name)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), how)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		var mine, there unix.Stat_t
		if unix.Fstat(int(f.Fd()), &mine) == nil && unix.Lstat(path, &there) == nil && mine.Ino == there.Ino {
			return f, nil
		}
		f.Close()
	}
}

// writeFile replaces a file so that readers see the old or the new text, also
// after a crash of the machine.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}
