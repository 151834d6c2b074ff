package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DamagedError is the error of Find for a container whose files can't be read:
// a machine that crashed may have left it so.
type DamagedError struct {
	ID  string
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("container %s can't be read: %v; plyfs rm -f %s deletes it with all that was written in it", e.ID[:12], e.Err, e.ID[:12])
}

func (e *DamagedError) Unwrap() error { return e.Err }

// damaged looks for a container with that start of an id which List leaves
// out; one that is just being removed is none.
func (s *Store) damaged(ref string) error {
	entries, err := os.ReadDir(filepath.Join(s.root, "containers"))
	if err != nil || ref == "" {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ref) || len(e.Name()) < 12 {
			continue
		}
		c, err := s.open(e.Name())
		if err == nil {
			_, err = c.stored()
		}
		if _, gone := os.Lstat(s.dir(e.Name())); err != nil && gone == nil {
			return &DamagedError{e.Name(), err}
		}
	}
	return nil
}

// RemoveDamaged deletes a container that Find called damaged. What of it may run
// can't be known: what is mounted is refused.
func (s *Store) RemoveDamaged(id string) error {
	l, err := lock(filepath.Join(s.dir(id), "lock"))
	if err != nil {
		return err
	}
	defer l.Close()
	var d *DamagedError
	if err := s.damaged(id); !errors.As(err, &d) {
		return fmt.Errorf("container %s isn't damaged any more", id[:12])
	}
	gone := s.dir("." + id)
	if err := os.Rename(s.dir(id), gone); err != nil {
		return err
	}
	return removeData(gone, userMaps(false))
}
