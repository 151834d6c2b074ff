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
	"github.com/plyfs/plyfs/fs/fail"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// openDatabase opens the metadata. What is in it is looked at by checkDatabase:
// that takes longer the more there is.
func (s *Snapshotter) openDatabase() error {
	if err := s.metadataGone(); err != nil {
		return err
	}
	return s.guarded(func() (err error) {
		s.ms, err = storage.NewMetaStore(s.database(), func(o *bolt.Options) error {
			o.Timeout = patience
			return nil
		})
		if err != nil {
			return err
		}
		return s.ms.WithTransaction(s.ctx, false, func(context.Context) error { return nil })
	})
}

// checkDatabase reads every record, so that a file that is damaged is named
// now and not at some call, and puts the trash right. Calls wait for it.
func (s *Snapshotter) checkDatabase() {
	defer close(s.checked)
	fail.Point("metadata.check")
	s.damage = s.guarded(func() error {
		return s.ms.WithTransaction(s.ctx, false, func(ctx context.Context) error {
			_, err := storage.IDMap(ctx)
			return ignoreNotFound(err)
		})
	})
	if s.damage == nil {
		s.damage = s.settleTrash()
	}
}

// guarded runs what reads metadata that nobody has looked at yet. bbolt trusts
// its pages, and panics over some that are damaged; a file that was cut off
// faults where it is mapped.
func (s *Snapshotter) guarded(read func() error) (err error) {
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
	return read()
}

// Ready waits until the metadata were looked at, as every call does by itself.
// After an error none will work.
func (s *Snapshotter) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.checked:
		return s.damage
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tx is a transaction of the metadata. One that writes is undone when ctx has
// ended before it is through: a call whose context ends has done nothing or all.
func (s *Snapshotter) tx(ctx context.Context, write bool, fn storage.TransactionCallback) error {
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if !write {
		return s.ms.WithTransaction(ctx, false, fn)
	}
	select { // bbolt would wait for the earlier one, whatever becomes of ctx
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer s.keepRoom()
	return s.ms.WithTransaction(ctx, true, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return ctx.Err()
	})
}

// roomAhead is how much of the disk the metadata take at least.
const roomAhead = 1 << 20

// keepRoom has the pages of the metadata's file that bbolt has not written yet
// take their place on the disk, so that a snapshot can be removed when it is
// full: removing writes pages, too. Precondition: this is the writer.
func (s *Snapshotter) keepRoom() {
	fd, err := unix.Open(s.database(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return // whoever uses it tells
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || s.pages >= max(st.Size, roomAhead) {
		return
	}
	size := max(st.Size, roomAhead)
	switch unix.Fallocate(fd, 0, 0, size) {
	case nil, unix.EOPNOTSUPP, unix.ENOSYS: // where it can't be done it is as it was
		s.pages = size
	}
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
