package snapshot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockRoot takes a root directory for this process. bbolt would wait for the
// other one for ever, and say nothing.
func lockRoot(root, file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("root directory %s cannot be used: %w", root, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		text := make([]byte, 32)
		n, _ := f.ReadAt(text, 0)
		_ = f.Close()
		return nil, fmt.Errorf("root directory %s is in use by process %s: stop that one, or give --root a directory of its own", root, strings.TrimSpace(string(text[:n])))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("root directory %s cannot be locked: %w", root, err)
	}
	return f, nil
}
