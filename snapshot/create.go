package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/plyfs/plyfs/fs/fail"
)

// Prepare makes an active snapshot.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindActive, key, parent, opts)
}

// View makes a read-only view of a committed snapshot.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindView, key, parent, opts)
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return nil, err
		}
	}
	w, err := readWish(key, info.Labels)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, err)
	}
	r := record{key: key, wish: w}
	if r.Snapshot, err = s.make(ctx, kind, key, parent, opts); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, err)
	}
	fail.Point("prepare.made")
	m, err := s.mounts(ctx, r)
	fail.Point("prepare.mounted")
	if err != nil {
		// The caller doesn't know of it: it must not stay.
		id, e := s.forget(context.WithoutCancel(ctx), key)
		if e != nil {
			return nil, errors.Join(err, e)
		}
		s.tidy(ctx, key, id)
		return nil, err
	}
	return m, nil
}

// make makes the record and the directories of a snapshot: both or none.
func (s *Snapshotter) make(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (made storage.Snapshot, err error) {
	if err := s.Ready(ctx); err != nil {
		return made, err // what is being made before then is taken for a leftover
	}
	dir, err := s.newDir(kind)
	if err != nil {
		return made, err
	}
	renamed := ""
	defer func() {
		if err == nil {
			return
		}
		if renamed != "" { // the transaction failed after it
			dir = renamed
		}
		err = errors.Join(err, deleteTree(context.Background(), dir))
	}()
	fail.Point("prepare.dir")
	err = s.tx(ctx, true, func(ctx context.Context) error {
		if made, err = storage.CreateSnapshot(ctx, kind, key, parent, opts...); err != nil {
			return err
		}
		if kind == snapshots.KindActive && len(made.ParentIDs) > 0 {
			if err := likeRoot(dir+"/fs", s.layer(made.ParentIDs[0])); err != nil {
				return err
			}
		}
		fail.Point("prepare.record")
		to := s.snapshot(made.ID)
		if err := os.Rename(dir, to); err != nil {
			return err
		}
		renamed = to
		fail.Point("prepare.renamed")
		return nil
	})
	return made, err
}

// newDir makes the directories of a snapshot under a name that is nobody's.
func (s *Snapshotter) newDir(kind snapshots.Kind) (_ string, err error) {
	dir, err := os.MkdirTemp(s.snapshots(), "new-")
	if err != nil {
		return "", err
	}
	if kind != snapshots.KindActive {
		return dir, nil
	}
	fs, work := dir+"/fs", dir+"/work"
	// Chmod, because of the umask.
	if err = errors.Join(os.Mkdir(fs, 0o755), os.Mkdir(work, 0o711)); err == nil {
		err = os.Chmod(fs, 0o755)
	}
	if err != nil {
		return "", errors.Join(err, deleteTree(context.Background(), dir))
	}
	return dir, nil
}

// likeRoot gives a new layer's root the owner and mode of its parent's: what
// a union shows for its root is the upper layer's.
func likeRoot(dir, parent string) error {
	fi, err := os.Lstat(parent)
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		if err := os.Lchown(dir, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
		return syscall.Chmod(dir, st.Mode&0o7777)
	}
	return nil
}
