package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is the error of a sandbox that somebody else works on.
var ErrInUse = errors.New("it is in use")

const (
	lockFile = "sandbox.lock"
	// serverLock is what the server of a root holds (fs/union).
	serverLock = "work/plyfs/lock"
)

// afterlife is how long the server of a sandbox whose command line was killed
// may take to end.
const afterlife = 5 * time.Second

// Lock takes the sandbox in dir for its caller alone: for running in it, and
// for everything that reads or writes its upper as a whole. Closing the result
// gives it back, and so does the end of the process, however it comes.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, err
	}
	if err := awaitServer(dir); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// awaitServer waits until nobody serves the upper any more.
func awaitServer(dir string) error {
	f, err := os.Open(filepath.Join(dir, serverLock))
	if err != nil {
		return nil // it was never mounted
	}
	defer f.Close()
	for end := time.Now().Add(afterlife); ; time.Sleep(2 * time.Millisecond) {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: the server of its root still runs", ErrInUse)
		}
	}
}
