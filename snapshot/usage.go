package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
)

// usageCache holds what was counted of committed layers that were not written
// through a union. A layer doesn't change, so the first count is for ever; it
// is also written beside the layer.
type usageCache struct {
	mu sync.Mutex
	m  map[string]snapshots.Usage

	writing sync.Mutex // one at a time writes a file beside a layer; taken with nothing else held
}

func (c *usageCache) get(id string) (snapshots.Usage, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, ok := c.m[id]
	return u, ok
}

func (c *usageCache) put(id string, u snapshots.Usage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]snapshots.Usage{}
	}
	c.m[id] = u
}

func (c *usageCache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, id)
}

// Usage is what a snapshot takes beyond its parents. It is known without
// looking, but for a layer that is being unpacked.
func (s *Snapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	var (
		id    string
		info  snapshots.Info
		usage snapshots.Usage
	)
	err := s.tx(ctx, false, func(ctx context.Context) (err error) {
		id, info, usage, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", key, err)
	}
	switch {
	case info.Kind == snapshots.KindView:
		return snapshots.Usage{}, nil
	case info.Kind == snapshots.KindCommitted && usage.Inodes > 0:
		return usage, nil
	case info.Kind == snapshots.KindCommitted:
		return s.count(ctx, id)
	}
	u, ok, err := s.c.Mounter.Usage(ctx, s.mountPoint(id))
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", key, err)
	}
	if ok {
		return snapshots.Usage{Size: u.Bytes, Inodes: u.Inodes}, nil
	}
	return s.walk(ctx, key, id)
}

// walk looks at every file of a layer.
func (s *Snapshotter) walk(ctx context.Context, key, id string) (snapshots.Usage, error) {
	du, err := fs.DiskUsage(ctx, s.layer(id))
	if errors.Is(err, os.ErrNotExist) {
		if _, gone := os.Lstat(s.layer(id)); gone != nil {
			return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: its layer %s is missing on disk: %w", key, s.layer(id), errdefs.ErrNotFound)
		}
	}
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", key, err)
	}
	return snapshots.Usage(du), nil
}

// count is the usage of a committed layer, from where it was written down, or
// counted and written down.
func (s *Snapshotter) count(ctx context.Context, id string) (snapshots.Usage, error) {
	if u, ok := s.usages.get(id); ok {
		return u, nil
	}
	var u snapshots.Usage
	text, err := os.ReadFile(s.usage(id))
	if err == nil {
		if n, _ := fmt.Sscan(string(text), &u.Size, &u.Inodes); n == 2 && u.Inodes > 0 {
			s.usages.put(id, u)
			return u, nil
		}
	}
	if u, err = s.walk(ctx, id, id); err != nil {
		return u, err
	}
	s.usages.put(id, u)
	s.usages.writing.Lock()
	defer s.usages.writing.Unlock()
	if err := writeFile(s.usage(id), fmt.Sprintf("%d %d\n", u.Size, u.Inodes)); err != nil {
		s.log.Warn("usage is counted again after the next start", "file", s.usage(id), "error", err)
	}
	return u, nil
}

// writeFile replaces a file: it has the old text or the new.
func writeFile(name, text string) error {
	tmp := name + ".new"
	err := os.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}
