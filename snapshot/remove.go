package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/plyfs/plyfs/fs/fail"
)

// Remove removes a snapshot that has no children. Its key can be used again at
// once; the space comes back in the background, and before the next Cleanup
// returns.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	id, err := s.forget(ctx, key)
	if err != nil {
		return err
	}
	fail.Point("remove.done")
	s.tidy(ctx, key, id)
	return nil
}

// forget deletes the record of a snapshot and moves its directory to the trash:
// both or none.
func (s *Snapshotter) forget(ctx context.Context, key string) (id string, err error) {
	moved := false
	err = s.tx(ctx, true, func(ctx context.Context) (err error) {
		if id, _, err = storage.Remove(ctx, key); err != nil {
			return err
		}
		fail.Point("remove.record")
		err = os.Rename(s.snapshot(id), s.trashed(id))
		moved = err == nil
		fail.Point("remove.renamed")
		if e := fail.Err("remove.commit"); e != 0 {
			return e
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // lost on disk: then it can be removed, and nothing else
		}
		return err
	})
	if err != nil {
		if moved {
			err = errors.Join(err, os.Rename(s.trashed(id), s.snapshot(id)))
		}
		return "", fmt.Errorf("cannot remove snapshot %s: %w", key, err)
	}
	return id, nil
}

// tidy undoes the mount of a snapshot that is removed, and has its space come
// back. The mount goes before the answer: whoever makes the same snapshot anew
// has it on another directory, but nobody shall find it by the old one. When
// nobody waits for that any more it goes in the background.
func (s *Snapshotter) tidy(ctx context.Context, key, id string) {
	s.usages.drop(id)
	err := s.release(ctx, id)
	fail.Point("remove.released")
	s.background(func() {
		if err != nil && ctx.Err() != nil {
			err = s.release(s.ctx, id)
		}
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("mount of a removed snapshot stays until the next start or Cleanup", "snapshot", key, "error", err)
		}
		if err := s.emptyTrash(s.ctx); err != nil && s.ctx.Err() == nil {
			s.log.Warn("the space of a removed snapshot is not free yet", "snapshot", key, "error", err)
		}
	})
}

// Cleanup gives the space of everything back that no record owns.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	err := s.collectOrphans(ctx)
	if e := ctx.Err(); e != nil {
		return fmt.Errorf("cleanup: %w", e)
	}
	return errors.Join(err, s.emptyTrash(ctx))
}

// collectOrphans moves directories without a record to the trash, and undoes
// mounts without one. A write transaction is open meanwhile: nobody is between
// making a record and naming its directory.
func (s *Snapshotter) collectOrphans(ctx context.Context) error {
	var orphans []string
	err := s.tx(ctx, true, func(ctx context.Context) error {
		ids, err := storage.IDMap(ctx)
		if ignoreNotFound(err) != nil {
			return err
		}
		names, err := readNames(s.snapshots())
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, ok := ids[name]; ok || strings.HasPrefix(name, "new-") {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err // those that were moved are nobody's there, too
			}
			if err := os.Rename(s.snapshot(name), s.trashed(name)); err != nil {
				return err
			}
			fail.Point("cleanup.renamed")
		}
		points, err := readNames(s.mountPoints())
		if err != nil {
			return err
		}
		for _, name := range points {
			if _, ok := ids[name]; !ok {
				orphans = append(orphans, name)
			}
		}
		return nil
	})
	fail.Point("cleanup.collected")
	for _, id := range orphans {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = errors.Join(err, s.release(ctx, id))
	}
	return err
}

// emptyTrash deletes what is in the trash. What is mounted stays.
func (s *Snapshotter) emptyTrash(ctx context.Context) error {
	select {
	case s.bins <- struct{}{}:
		defer func() { <-s.bins }()
	case <-ctx.Done():
		return ctx.Err()
	}
	fail.Point("trash.begin")
	names, err := readNames(s.trash())
	if err != nil || len(names) == 0 {
		return err
	}
	// What is there and has a record is being removed by a transaction that
	// may still fail.
	var ids map[string]string
	err = s.tx(ctx, false, func(ctx context.Context) (err error) {
		ids, err = storage.IDMap(ctx)
		return ignoreNotFound(err)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := ids[name]; ok {
			continue
		}
		err = errors.Join(err, deleteTree(ctx, s.trashed(name)))
		fail.Point("trash.tree")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
