package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// Config is how a Snapshotter works.
type Config struct {
	// Root holds the layers and the metadata; State the mount points: it is
	// empty after a reboot.
	Root, State string
	// Mounter mounts unions.
	Mounter Mounter
	// Options are used for every union: what docs/options.md has, but for the
	// directories and what labels decide. nil is the defaults.
	Options *layer.Options
	// UserNS says that the daemon is in a user namespace: the applier can't
	// write whiteouts there, so that extraction keys get a union as well.
	UserNS bool
	// FuseMounts has Prepare and View answer a mount of type fuse3.plyfs for
	// whoever mounts, instead of mounting a union and answering a bind.
	FuseMounts bool
	// Log gets what nobody waits for. nil is slog.Default.
	Log *slog.Logger
}

// Snapshotter implements snapshots.Snapshotter and snapshots.Cleaner.
type Snapshotter struct {
	paths
	c    Config
	log  *slog.Logger
	ms   *storage.MetaStore
	held *os.File // the lock of the root
	ids  keyedLocks

	checked chan struct{} // closed when the metadata were looked at
	damage  error         // what was found; set before checked is closed

	usages usageCache
	writer chan struct{} // one at a time has a transaction that writes
	pages  int64         // of the metadata's file that have their place on the disk, in bytes; protected by writer
	bins   chan struct{} // one at a time empties the trash

	ctx  context.Context // of the background jobs
	stop context.CancelFunc
	mu   sync.Mutex
	jobs sync.WaitGroup
	shut bool // protected by mu: no new jobs
}

var (
	_ snapshots.Snapshotter = (*Snapshotter)(nil)
	_ snapshots.Cleaner     = (*Snapshotter)(nil)
)

// patience is how long bbolt waits for a lock that flock says is free.
const patience = 5 * time.Second

// New opens the snapshots below c.Root, made if need be. It is quick whatever
// their number: metadata and mounts are looked after in the background, and what
// needs them waits.
func New(c Config) (*Snapshotter, error) {
	p, err := newPaths(c.Root, c.State)
	if err != nil {
		return nil, err
	}
	s := &Snapshotter{paths: p, c: c, log: c.Log, writer: make(chan struct{}, 1), bins: make(chan struct{}, 1), checked: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.c.Options == nil {
		s.c.Options = new(layer.Options)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.background(s.restore)
	s.background(s.watch)
	return s, nil
}

func (s *Snapshotter) open() error {
	for _, dir := range []string{s.root, s.state} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("directory %s cannot be made: %w", dir, err)
		}
	}
	var err error
	if s.held, err = lockRoot(s.root, s.lock()); err != nil {
		return err
	}
	for _, dir := range []string{s.snapshots(), s.trash(), s.empty(), s.mountPoints()} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("directory %s cannot be made: %w", dir, err)
		}
	}
	// The empty layer is the root directory of whatever is mounted over it.
	if err := os.Chmod(s.empty(), 0o755); err != nil {
		return err
	}
	if err := unix.Access(s.root, unix.W_OK); err != nil {
		return fmt.Errorf("root directory %s is not writable: %w", s.root, err)
	}
	return s.openDatabase()
}

// Close ends the background jobs and closes the metadata. Mounts and data stay
// as they are. It may be called twice.
func (s *Snapshotter) Close() error {
	s.mu.Lock()
	first := !s.shut
	s.shut = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	s.stop()
	s.jobs.Wait()
	var err error
	if s.ms != nil {
		err = s.ms.Close()
	}
	if s.held != nil {
		err = errors.Join(err, s.held.Close())
	}
	return err
}

// background runs a job that Close waits for.
func (s *Snapshotter) background(job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return
	}
	s.jobs.Go(job)
}

// keyedLocks is a lock for each name.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the lock is free
}

// lock takes the lock of a name and gives the function that lets go of it. It
// waits as long as ctx goes on: a mount may take its time.
func (k *keyedLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		other := k.held[name]
		if other == nil {
			break
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	mine := make(chan struct{})
	k.held[name] = mine
	k.mu.Unlock()
	return func() {
		k.mu.Lock()
		delete(k.held, name)
		k.mu.Unlock()
		close(mine)
	}, nil
}
