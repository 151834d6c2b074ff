package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// records lists everything that there is, on disk as well.
func records(t *testing.T, s *Snapshotter) (all []string) {
	t.Helper()
	must(t, s.Walk(context.Background(), func(_ context.Context, i snapshots.Info) error {
		all = append(all, fmt.Sprint(i.Kind, i.Name, i.Parent, i.Labels))
		return nil
	}))
	for _, dir := range []string{s.snapshots(), s.trash()} {
		names, err := os.ReadDir(dir)
		must(t, err)
		for _, n := range names {
			all = append(all, dir+n.Name())
		}
	}
	return all
}

// TestWaitingEnds: who waits for another one's transaction waits as long as the
// context goes on; what only reads doesn't wait.
func TestWaitingEnds(t *testing.T) {
	s, ctx := newPlain(t, t.TempDir()), context.Background()
	for _, key := range []string{"base", "c", "r"} {
		_, err := s.Prepare(ctx, key, "")
		must(t, err)
	}
	must(t, s.Commit(ctx, "top", "base"))
	_, err := s.Usage(ctx, "top") // it is written beside the layer
	must(t, err)
	calls := map[string]func(ctx context.Context) error{
		"prepare": func(ctx context.Context) error { _, err := s.Prepare(ctx, "new", ""); return err },
		"view":    func(ctx context.Context) error { _, err := s.View(ctx, "look", "top"); return err },
		"commit":  func(ctx context.Context) error { return s.Commit(ctx, "done", "c") },
		"remove":  func(ctx context.Context) error { return s.Remove(ctx, "r") },
		"update": func(ctx context.Context) error {
			_, err := s.Update(ctx, snapshots.Info{Name: "top", Labels: map[string]string{"a": "b"}})
			return err
		},
		"cleanup": s.Cleanup,
	}
	before := records(t, s)
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- s.tx(ctx, true, func(context.Context) error { close(begun); <-end; return nil })
	}()
	<-begun
	for what, call := range calls {
		late, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		if err := call(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
		gone, cancel := context.WithCancel(ctx)
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := call(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if now := records(t, s); !reflect.DeepEqual(now, before) {
		t.Errorf("before %q, now %q", before, now)
	}
	close(end)
	must(t, <-ended)
	for what, call := range calls {
		if err := call(ctx); err != nil {
			t.Errorf("%s afterwards: %v", what, err)
		}
	}
}

// TestWalk: fn may call us, and it ends with its context or its error.
func TestWalk(t *testing.T) {
	s, ctx := newPlain(t, t.TempDir()), context.Background()
	must(t, s.Walk(ctx, func(context.Context, snapshots.Info) error { return errors.New("there is none") }))
	for i := range 5 {
		_, err := s.Prepare(ctx, fmt.Sprint("key ", i), "")
		must(t, err)
	}
	n := 0
	gone, cancel := context.WithCancel(ctx)
	err := s.Walk(gone, func(context.Context, snapshots.Info) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	if n != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d calls, %v", n, err)
	}
	n = 0
	err = s.Walk(ctx, func(context.Context, snapshots.Info) error { n++; return os.ErrClosed })
	if n != 1 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("%d calls, %v", n, err)
	}
	n = 0
	must(t, s.Walk(ctx, func(ctx context.Context, i snapshots.Info) error { n++; return s.Remove(ctx, i.Name) }))
	if n != 5 {
		t.Errorf("%d calls", n)
	}
	must(t, s.Cleanup(ctx))
	if left := records(t, s); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
