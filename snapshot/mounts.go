package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// FuseType is the type of the mounts that Config.FuseMounts answers.
const FuseType = "fuse3.plyfs"

// record is a snapshot that can be mounted, with what its labels ask for.
type record struct {
	storage.Snapshot
	key  string
	wish wish
}

// Mounts answers what Prepare or View answered, mounting it again if need be.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	r, err := s.record(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.mounts(ctx, r)
}

func (s *Snapshotter) record(ctx context.Context, key string) (r record, err error) {
	err = s.tx(ctx, false, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, key)
		if err != nil {
			return fmt.Errorf("mounts of snapshot %s: %w", key, err)
		}
		if r.Snapshot, err = storage.GetSnapshot(ctx, key); err != nil {
			return fmt.Errorf("mounts of snapshot %s: %w", key, err)
		}
		r.key = key
		r.wish, err = readWish(key, info.Labels)
		return err
	})
	return r, err
}

// form is how a snapshot is given to whoever mounts it.
type form int

const (
	formBind    form = iota // a bind mount of the one directory there is
	formOverlay             // the kernel's overlayfs, for unpacking: nothing is mounted by anybody
	formUnion               // a union
)

// form chooses. What unpacks a layer writes into upperdir= of a mount of type
// overlay without mounting it. Without a lower layer the kernel would refuse
// such a mount, so there it is a bind, unless the layer is going to have
// parents: its deletions must be kept.
func (s *Snapshotter) form(r *record) form {
	special := r.wish.uids != nil || r.wish.maxSize != 0
	switch {
	case special:
		return formUnion
	case r.Kind == snapshots.KindView && len(r.ParentIDs) <= 1:
		return formBind
	case r.Kind == snapshots.KindView:
		return formUnion
	case len(r.ParentIDs) == 0 && !(r.wish.extract && r.wish.rebased):
		return formBind
	case r.wish.extract && !s.c.UserNS:
		return formOverlay
	}
	return formUnion
}

// mounts is the answer for r. Where that is a union, it is mounted afterwards.
func (s *Snapshotter) mounts(ctx context.Context, r record) ([]mount.Mount, error) {
	if err := s.settle(ctx, &r); err != nil {
		return nil, err
	}
	switch s.form(&r) {
	case formBind:
		return bind(s.onlyDir(&r), r.Kind == snapshots.KindView), nil
	case formOverlay:
		return s.overlay(&r), nil
	}
	if s.c.FuseMounts {
		return s.fuse(&r), nil
	}
	if err := s.ensure(ctx, &r); err != nil {
		return nil, err
	}
	return bind(s.mountPoint(r.ID), r.Kind == snapshots.KindView), nil
}

// settle waits until the layers below r are what they stay: at the end of its
// mount a server writes the names that it still owes to the layer, and Commit
// doesn't wait for that.
func (s *Snapshotter) settle(ctx context.Context, r *record) error {
	for _, id := range r.ParentIDs {
		if !s.pointThere(id) {
			continue
		}
		if err := s.release(ctx, id); err != nil {
			return fmt.Errorf("snapshot %s: its parent is still mounted: %w", r.key, err)
		}
	}
	return nil
}

// onlyDir is the directory of a snapshot that is no union of several.
func (s *Snapshotter) onlyDir(r *record) string {
	switch {
	case r.Kind != snapshots.KindView:
		return s.layer(r.ID)
	case len(r.ParentIDs) == 1:
		return s.layer(r.ParentIDs[0])
	}
	return s.empty()
}

func bind(source string, readOnly bool) []mount.Mount {
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	return []mount.Mount{{Type: "bind", Source: source, Options: []string{mode, "rbind"}}}
}

func (s *Snapshotter) overlay(r *record) []mount.Mount {
	options := []string{
		"workdir=" + s.work(r.ID),
		"upperdir=" + s.layer(r.ID),
	}
	if len(r.ParentIDs) > 0 {
		options = append(options, "lowerdir="+strings.Join(s.layers(r.ParentIDs), ":"))
	}
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
}

func (s *Snapshotter) fuse(r *record) []mount.Mount {
	o := s.options(r)
	o.FSName = "" // the source is the name
	return []mount.Mount{{Type: FuseType, Source: "plyfs", Options: []string{o.String()}}}
}

// options are those of the union of r.
func (s *Snapshotter) options(r *record) *layer.Options {
	o := *s.c.Options
	o.Lower = s.layers(r.ParentIDs)
	if len(o.Lower) == 0 {
		o.Lower = []string{s.empty()}
	}
	if r.Kind == snapshots.KindActive {
		o.Upper, o.Work = s.layer(r.ID), s.work(r.ID)
	}
	o.UIDMap, o.GIDMap, o.SizeLimit = r.wish.uids, r.wish.gids, r.wish.maxSize
	o.FSName = s.fsName(r.ID)
	// A container expects of its root what overlayfs gives it. Who may not
	// use a set-user-ID program of an image can't get at it either: the way to
	// the mount is closed to all but root.
	o.Suid = !o.NoSuid
	return &o
}

// fsName is by which a mount of ours is known in /proc/self/mountinfo, also
// where somebody has bind mounted it.
func (s *Snapshotter) fsName(id string) string { return "plyfs:" + s.mountPoint(id) }

// ensure has the union of r mounted.
func (s *Snapshotter) ensure(ctx context.Context, r *record) error {
	unlock, err := s.ids.lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	return s.ensureLocked(ctx, r)
}

// ensureLocked is ensure. Precondition: the lock of the id is held.
func (s *Snapshotter) ensureLocked(ctx context.Context, r *record) error {
	dir := s.mountPoint(r.ID)
	if served, err := s.c.Mounter.Serves(ctx, dir); served || err != nil {
		return err
	}
	// Whatever is mounted there has no server any more.
	if err := s.c.Mounter.Unmount(ctx, dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("mount point %s cannot be made: %w", dir, err)
	}
	o := s.options(r)
	o.Index = s.indexFor(r)
	if err := s.c.Mounter.Mount(ctx, dir, o); err != nil {
		_ = os.Remove(dir)
		if missing := s.layersThere(r); missing != nil {
			return missing
		}
		return fmt.Errorf("snapshot %s: %w", r.key, err)
	}
	return nil
}

// indexFor is the directory of the index file of r's parents: beside the top one,
// so that it goes with it, and the same for all children. The server of the
// first container on them makes the file behind its back; every server reads
// it. What is mounted once, to unpack or to look at a layer on the way, has none made for it.
func (s *Snapshotter) indexFor(r *record) string {
	if len(r.ParentIDs) == 0 {
		return ""
	}
	dir := s.index(r.ParentIDs[0])
	if r.Kind == snapshots.KindActive && !r.wish.extract {
		if err := os.Mkdir(dir, 0o700); err == nil || errors.Is(err, os.ErrExist) {
			return dir
		}
	} else if _, err := os.Lstat(dir); err == nil {
		return dir
	}
	return "" // everything works without
}

// layersThere names a layer whose directory is gone.
func (s *Snapshotter) layersThere(r *record) error {
	ids := r.ParentIDs
	if r.Kind == snapshots.KindActive {
		ids = append([]string{r.ID}, ids...)
	}
	for _, id := range ids {
		if _, err := os.Lstat(s.layer(id)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("snapshot %s: its layer %s is missing on disk: remove the snapshot and unpack the image again: %w", r.key, s.layer(id), errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// pointThere says whether there is a mount point, without a question to the
// server of what is mounted on it: that one may be stopped.
func (s *Snapshotter) pointThere(id string) bool {
	var sx unix.Statx_t
	return unix.Statx(unix.AT_FDCWD, s.mountPoint(id), unix.AT_STATX_DONT_SYNC|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &sx) != unix.ENOENT
}

// release undoes the mount of a snapshot that needs none any more.
func (s *Snapshotter) release(ctx context.Context, id string) error {
	unlock, err := s.ids.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	return s.releaseLocked(ctx, id)
}

func (s *Snapshotter) releaseLocked(ctx context.Context, id string) error {
	dir := s.mountPoint(id)
	if !s.pointThere(id) {
		return nil
	}
	if err := s.c.Mounter.Unmount(ctx, dir); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mount point %s cannot be removed: %w", dir, err)
	}
	return nil
}
