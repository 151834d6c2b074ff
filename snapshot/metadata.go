package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	bolt "go.etcd.io/bbolt"
)

// openDatabase opens the metadata, so that a file that is damaged is named now
// and not at the first call.
func (s *Snapshotter) openDatabase() (err error) {
	if err := s.metadataGone(); err != nil {
		return err
	}
	// bbolt trusts its pages, and panics over some that are damaged; a file that
	// was cut off faults where it is mapped.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
			if _, ok := p.(runtime.Error); ok {
				err = errors.New("it is damaged or cut off")
			}
			s.ms = nil // a panic leaves its locks held: Close would wait for ever
		}
		if err != nil {
			err = fmt.Errorf("metadata %s cannot be read: %w; restore it from a backup, or move %s away to begin anew", s.database(), err, s.root)
		}
	}()
	s.ms, err = storage.NewMetaStore(s.database(), func(o *bolt.Options) error {
		o.Timeout = patience
		return nil
	})
	if err != nil {
		return err
	}
	return s.ms.WithTransaction(s.ctx, false, func(ctx context.Context) error {
		_, err := storage.IDMap(ctx)
		return ignoreNotFound(err)
	})
}

// metadataGone refuses layers without metadata: with new metadata they would be
// nobody's, and deleted.
func (s *Snapshotter) metadataGone() error {
	fi, err := os.Stat(s.database())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("metadata: %w", err)
	}
	if err == nil && fi.Size() > 0 {
		return nil
	}
	names, err := readNames(s.snapshots())
	if err != nil {
		return fmt.Errorf("snapshots of %s: %w", s.root, err)
	}
	if i := slices.IndexFunc(names, func(name string) bool { return !strings.HasPrefix(name, "new-") }); i >= 0 {
		return fmt.Errorf("metadata %s is missing or empty, and %s holds snapshots: restore it from a backup, or move %s away to begin anew", s.database(), s.snapshots(), s.root)
	}
	return nil
}
