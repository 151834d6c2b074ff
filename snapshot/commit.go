package snapshot

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/plyfs/plyfs/fs/fail"
)

// Commit makes a committed snapshot of an active one. Nothing is copied or
// walked: what the mount's server has counted is the usage, and where no
// server was involved it is counted later.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	id, err := s.activeID(ctx, key)
	if err != nil {
		return fmt.Errorf("commit of snapshot %s: %w", key, err)
	}
	dir := s.mountPoint(id)
	// What the kernel still holds must be in the layer before it is one.
	if err := s.c.Mounter.Sync(ctx, dir); err != nil {
		return fmt.Errorf("commit of snapshot %s: it was not written back: %w", key, err)
	}
	fail.Point("commit.synced")
	counted, ok, err := s.c.Mounter.Usage(ctx, dir)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("usage is counted later", "snapshot", key, "error", err)
	}
	var usage snapshots.Usage
	if ok && err == nil {
		usage = snapshots.Usage{Size: counted.Bytes, Inodes: counted.Inodes}
	}
	err = s.tx(ctx, true, func(ctx context.Context) error {
		now, err := storage.CommitActive(ctx, key, name, usage, opts...)
		if err == nil && now != id {
			err = fmt.Errorf("it was removed and made anew meanwhile: %w", errdefs.ErrFailedPrecondition)
		}
		fail.Point("commit.record")
		return err
	})
	if err != nil {
		return fmt.Errorf("commit of snapshot %s as %s: %w", key, name, err)
	}
	var given snapshots.Info
	for _, o := range opts {
		_ = o(&given) // the transaction has done it without an error
	}
	s.log.Debug("committed", "id", id, "key", key, "name", name, "counted", ok, "rebased", given.Parent != "")
	// It is committed, whatever comes now.
	fail.Point("commit.done")
	s.background(func() {
		fail.Point("commit.release")
		if err := s.release(s.ctx, id); err != nil && s.ctx.Err() == nil {
			s.log.Warn("mount of a committed snapshot stays", "snapshot", name, "error", err)
		}
		fail.Point("commit.released")
		if usage.Inodes == 0 {
			_, _ = s.count(s.ctx, id) // else when it is asked for
		}
	})
	return nil
}

// activeID is the id of an active snapshot.
func (s *Snapshotter) activeID(ctx context.Context, key string) (id string, err error) {
	err = s.tx(ctx, false, func(ctx context.Context) error {
		var info snapshots.Info
		id, info, _, err = storage.GetInfo(ctx, key)
		if err == nil && info.Kind != snapshots.KindActive {
			err = fmt.Errorf("it is not active: %w", errdefs.ErrFailedPrecondition)
		}
		return err
	})
	return id, err
}
