package snapshot

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
	if err != nil {
		return snapshots.Info{}, fmt.Errorf("snapshot %s: %w", key, err)
	}
	return info, nil
}

// Ping says whether the metadata can be read.
func (s *Snapshotter) Ping(ctx context.Context) error {
	return s.tx(ctx, false, func(context.Context) error { return nil })
}

// Update changes labels; nothing else of a snapshot can be changed. Without
// field paths, or with "labels", it gets those of info for all that it has;
// "labels.KEY" is about one. A label without a text is taken away.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (now snapshots.Info, err error) {
	if _, nameless := info.Labels[""]; nameless || slices.Contains(fieldpaths, "labels.") {
		return now, fmt.Errorf("update of snapshot %s: a label without a name: %w", info.Name, errdefs.ErrInvalidArgument)
	}
	info.Labels = maps.Clone(info.Labels) // storage deletes the empty ones
	err = s.tx(ctx, true, func(ctx context.Context) error {
		if now, err = storage.UpdateInfo(ctx, info, fieldpaths...); err != nil {
			return err
		}
		if now.Kind == snapshots.KindCommitted {
			return nil
		}
		// It decides how this is mounted the next time.
		_, err = readWish(info.Name, now.Labels)
		return err
	})
	if err != nil {
		return snapshots.Info{}, fmt.Errorf("update of snapshot %s: %w", info.Name, err)
	}
	return now, nil
}

// Walk calls fn for every snapshot that one of the filters lets through. They
// are those that there are when it begins: no transaction is open while fn runs,
// which may be slow, and may call us.
func (s *Snapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	var infos []snapshots.Info
	err := s.tx(ctx, false, func(ctx context.Context) error {
		return ignoreNotFound(storage.WalkInfo(ctx, func(ctx context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return ctx.Err()
		}, filters...))
	})
	for _, info := range infos {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			break
		}
		err = fn(ctx, info)
	}
	return err
}

// ignoreNotFound is for a database that has no snapshot yet.
func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
