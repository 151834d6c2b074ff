package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/plyfs/plyfs/fs/layer"
)

// Differ makes layers of what a snapshot has changed by looking at its own
// directory only, and in a user namespace unpacks layers straight into it.
// Whatever it can't do exactly it leaves to the next one: it answers
// ErrNotImplemented, and containerd asks its own differ.
type Differ struct {
	s     *Snapshotter
	store content.Store
}

var (
	_ diff.Comparer = (*Differ)(nil)
	_ diff.Applier  = (*Differ)(nil)
)

// NewDiffer makes a Differ for the mounts of s; blobs are in store.
func NewDiffer(s *Snapshotter, store content.Store) *Differ { return &Differ{s, store} }

// notOurs is the answer for what another differ has to do.
func notOurs(format string, a ...any) error {
	return fmt.Errorf("left to the next differ: %s: %w", fmt.Sprintf(format, a...), errdefs.ErrNotImplemented)
}

// ownerOf finds the snapshot that a mount of ours belongs to.
func (d *Differ) ownerOf(ctx context.Context, mounts []mount.Mount) (record, error) {
	if len(mounts) != 1 || mounts[0].Type != "bind" || filepath.Dir(mounts[0].Source) != d.s.mountPoints() {
		return record{}, notOurs("no union of this snapshotter")
	}
	return d.s.recordByID(ctx, filepath.Base(mounts[0].Source))
}

// baseOf finds what a view shows, as parent ids, and where.
func (d *Differ) baseOf(ctx context.Context, mounts []mount.Mount) (dir string, parents []string, err error) {
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		source := mounts[0].Source
		if filepath.Base(source) == "fs" && filepath.Dir(filepath.Dir(source)) == d.s.snapshots() {
			return source, []string{filepath.Base(filepath.Dir(source))}, nil // a view of one layer
		}
	}
	r, err := d.ownerOf(ctx, mounts)
	if err != nil {
		return "", nil, err
	}
	if r.Kind != snapshots.KindView || r.wish.uids != nil {
		return "", nil, notOurs("the lower side is no plain view")
	}
	return d.s.mountPoint(r.ID), r.ParentIDs, nil
}

// recordByID is record for an id.
func (s *Snapshotter) recordByID(ctx context.Context, id string) (record, error) {
	key := ""
	err := s.tx(ctx, false, func(ctx context.Context) error {
		ids, err := storage.IDMap(ctx)
		key = ids[id]
		return ignoreNotFound(err)
	})
	if err == nil && key == "" {
		err = notOurs("no snapshot has the id %s", id)
	}
	if err != nil {
		return record{}, err
	}
	r, err := s.record(ctx, key)
	if err == nil && r.ID != id {
		err = notOurs("snapshot %s was made anew", key)
	}
	return r, err
}

// Compare writes what upper has changed to the store. It looks at changed
// files only, however many there are in the image.
func (d *Differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (desc ocispec.Descriptor, err error) {
	r, err := d.ownerOf(ctx, upper)
	if err != nil {
		return desc, err
	}
	base, parents, err := d.baseOf(ctx, lower)
	if err != nil {
		return desc, err
	}
	if r.Kind != snapshots.KindActive || !slices.Equal(parents, r.ParentIDs) {
		return desc, notOurs("the lower side is not what the upper one is on")
	}
	if err := d.plain(&r); err != nil {
		return desc, err
	}
	if err := d.s.c.Mounter.Sync(ctx, d.s.mountPoint(r.ID)); err != nil {
		return desc, fmt.Errorf("diff of snapshot %s: it was not written back: %w", r.key, err)
	}
	return writeDiff(ctx, d.store, base, d.s.layer(r.ID), opts)
}

// plain says whether the layer directory alone tells what was changed.
func (d *Differ) plain(r *record) error {
	if o := d.s.c.Options; o.Metacopy || o.Redirect == layer.RedirectOn || o.XattrPerm != layer.XattrPermNone {
		return notOurs("redirects, metadata without data or owners as data may be in the layer")
	}
	// Other names of a hard link are written when the mount ends.
	names, err := os.ReadDir(filepath.Join(d.s.work(r.ID), "plyfs", "index"))
	if err == nil && len(names) > 0 {
		return notOurs("the layer has hard links to files below")
	}
	return nil
}
