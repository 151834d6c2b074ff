package snapshot

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Stat gives the record of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (info snapshots.Info, err error) {
	err = s.tx(ctx, false, func(ctx context.Context) error {
		_, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	return info, err
}

// Ping says whether the metadata can be read.
func (s *Snapshotter) Ping(ctx context.Context) error {
	return s.tx(ctx, false, func(context.Context) error { return nil })
}

// Update changes labels; nothing else of a snapshot can be changed.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (now snapshots.Info, err error) {
	err = s.tx(ctx, true, func(ctx context.Context) error {
		now, err = storage.UpdateInfo(ctx, info, fieldpaths...)
		return err
	})
	return now, err
}

// Walk calls fn for every snapshot that one of the filters lets through.
func (s *Snapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return s.tx(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, func(ctx context.Context, info snapshots.Info) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(ctx, info)
		}, filters...)
	})
}

// ignoreNotFound is for a database that has no snapshot yet.
func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
