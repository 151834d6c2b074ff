package snapshot

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"golang.org/x/sync/errgroup"
)

// settleTrash puts right what a crash in Remove left: a directory in the trash
// whose record is still there goes back. Nothing else runs yet; what was being
// made then is nobody's.
func (s *Snapshotter) settleTrash() error {
	names, err := readNames(s.trash())
	if err != nil {
		return fmt.Errorf("the trash of %s: %w", s.root, err)
	}
	var ids map[string]string
	if len(names) > 0 { // with many snapshots it takes its time
		err = s.ms.WithTransaction(s.ctx, false, func(ctx context.Context) (err error) {
			ids, err = storage.IDMap(ctx)
			return ignoreNotFound(err)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, ok := ids[name]; ok {
			if err := os.Rename(s.trashed(name), s.snapshot(name)); err != nil {
				return fmt.Errorf("snapshot directory of %s: %w", s.root, err)
			}
		}
	}
	if names, err = readNames(s.snapshots()); err != nil {
		return fmt.Errorf("snapshots of %s: %w", s.root, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "new-") {
			if err := os.Rename(s.snapshot(name), s.trashed(name)); err != nil {
				return fmt.Errorf("snapshot directory of %s: %w", s.root, err)
			}
		}
	}
	return nil
}

// restore brings the mounts in line with the records. A snapshot that can't be
// mounted is named in the log, and stays for a later attempt by Mounts.
func (s *Snapshotter) restore() {
	if s.checkDatabase(); s.damage != nil {
		s.log.Error("no call is answered", "error", s.damage)
		return
	}
	if err := s.collectOrphans(s.ctx); err != nil && s.ctx.Err() == nil {
		s.log.Warn("what no snapshot owns is not all gone", "root", s.root, "error", err)
	}
	s.remount()
	if err := s.emptyTrash(s.ctx); err != nil && s.ctx.Err() == nil {
		s.log.Warn("the space of removed snapshots is not free yet", "root", s.root, "error", err)
	}
}

// watch remounts what a server that died has left.
func (s *Snapshotter) watch() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.c.Mounter.Lost():
			s.log.Warn("a server of mounts is gone: its mounts are replaced; containers on them have to be restarted")
			s.remount()
		}
	}
}

// remount mounts again whatever has been mounted since the last boot and has
// no server now, and undoes what is mounted for a snapshot that was committed; a
// mount point is made when something is mounted and removed with it. Copies that others made of a dead mount (the bind in a bundle) are
// detached: containerd can't unmount what it can't look at.
func (s *Snapshotter) remount() {
	points, err := readNames(s.mountPoints())
	var served map[string]bool
	if err == nil {
		served, err = s.c.Mounter.Served(s.ctx)
	}
	var keys map[string]string
	if err == nil {
		keys, err = s.mountable()
	}
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("mounts are not looked after", "error", err)
		}
		return
	}
	var g errgroup.Group
	g.SetLimit(4)
	for _, id := range points {
		if served[s.mountPoint(id)] && keys[id] != "" {
			continue
		}
		g.Go(func() error {
			if err := s.replace(id, keys[id]); err != nil && s.ctx.Err() == nil {
				s.log.Warn("snapshot is not mounted", "id", id, "key", keys[id], "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // no error: each is in the log
	if err := s.detachDead(served); err != nil {
		s.log.Warn("dead mounts are not all detached", "error", err)
	}
}

// mountable gives the keys of all snapshots that can be mounted, by id.
func (s *Snapshotter) mountable() (map[string]string, error) {
	keys := map[string]string{}
	err := s.tx(s.ctx, false, func(ctx context.Context) error {
		ids, err := storage.IDMap(ctx)
		if err != nil {
			return ignoreNotFound(err)
		}
		for id, key := range ids {
			_, info, _, err := storage.GetInfo(ctx, key)
			if err != nil {
				return err
			}
			if info.Kind != snapshots.KindCommitted {
				keys[id] = key
			}
		}
		return nil
	})
	return keys, err
}

// replace mounts a snapshot anew; one without a key needs no mount.
func (s *Snapshotter) replace(id, key string) error {
	if key == "" {
		return s.release(s.ctx, id)
	}
	r, err := s.record(s.ctx, key)
	if err != nil {
		return ignoreNotFound(err) // removed meanwhile
	}
	if r.ID != id || s.form(&r) != formUnion {
		return s.release(s.ctx, id)
	}
	unlock, err := s.ids.lock(s.ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if !s.pointThere(id) {
		return nil // released meanwhile
	}
	return s.ensureLocked(s.ctx, &r)
}
