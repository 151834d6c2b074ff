package mountd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// looks is a context that ends when it is looked at for the n-th time: wherever a
// call looks whether somebody still waits for it, that is tried.
type looks struct {
	context.Context
	cancel context.CancelFunc

	mu sync.Mutex
	n  int // protected by mu
}

func newLooks(n int) *looks {
	l := &looks{n: n}
	l.Context, l.cancel = context.WithCancel(context.Background())
	return l
}

func (l *looks) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n--; l.n == 0 {
		l.cancel()
	}
}

func (l *looks) Err() error            { l.look(); return l.Context.Err() }
func (l *looks) Done() <-chan struct{} { l.look(); return l.Context.Done() }

// contextCalls are the calls whose context ends, on what contextWorld has.
var contextCalls = map[string]func(ctx context.Context, s snapshots.Snapshotter) error{
	"prepare": func(ctx context.Context, s snapshots.Snapshotter) error {
		_, err := s.Prepare(ctx, "new", "top")
		return err
	},
	"view": func(ctx context.Context, s snapshots.Snapshotter) error {
		_, err := s.View(ctx, "new", "top")
		return err
	},
	"mounts": func(ctx context.Context, s snapshots.Snapshotter) error { _, err := s.Mounts(ctx, "c"); return err },
	"commit": func(ctx context.Context, s snapshots.Snapshotter) error { return s.Commit(ctx, "done", "c") },
	"remove": func(ctx context.Context, s snapshots.Snapshotter) error { return s.Remove(ctx, "c") },
	"walk": func(ctx context.Context, s snapshots.Snapshotter) error {
		return s.Walk(ctx, func(context.Context, snapshots.Info) error { return nil })
	},
	"stat":            func(ctx context.Context, s snapshots.Snapshotter) error { _, err := s.Stat(ctx, "c"); return err },
	"usage":           func(ctx context.Context, s snapshots.Snapshotter) error { _, err := s.Usage(ctx, "c"); return err },
	"usage by a walk": func(ctx context.Context, s snapshots.Snapshotter) error { _, err := s.Usage(ctx, "x"); return err },
	"update": func(ctx context.Context, s snapshots.Snapshotter) error {
		_, err := s.Update(ctx, snapshots.Info{Name: "top", Labels: map[string]string{"a": "b"}})
		return err
	},
	"cleanup": func(ctx context.Context, s snapshots.Snapshotter) error { return s.(snapshots.Cleaner).Cleanup(ctx) },
}

// contextWorld has a layer, a container c with files of its own, x without a
// parent, and what is nobody's.
func contextWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.layer("top", "base", func(dir string) { write(t, dir+"/g", "top") })
	m := w.prepare("c", "top", nil)
	write(t, m[0].Source+"/d/own", "own")
	x := w.prepare("x", "", nil)
	write(t, x[0].Source+"/a/b/c", "x")
	must(t, w.Cleanup(context.Background()))
	for _, dir := range []string{"snapshots/900", "trash/902"} {
		write(t, filepath.Join(w.root(), dir, "fs/d/f"), "")
	}
	return w
}

// list has all records with their labels.
func (w *world) list() (all []string) {
	w.t.Helper()
	must(w.t, w.Walk(context.Background(), func(_ context.Context, i snapshots.Info) error {
		all = append(all, fmt.Sprint(i.Kind, i.Name, i.Parent, i.Labels))
		return nil
	}))
	return all
}

// restOf makes the call once more, without an end; nothing is lost or left.
func (w *world) restOf(what string, before []string) {
	t, ctx := w.t, context.Background()
	t.Helper()
	if now := w.list(); !reflect.DeepEqual(now, before) {
		t.Errorf("before %q, now %q", before, now)
	}
	if u := w.upper("c"); read(t, u+"/d/own") != "own" {
		t.Error("c has lost a file")
	}
	if err := contextCalls[what](ctx, w.Snapshotter); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	for _, key := range []string{"c", "new"} {
		if !w.has(key) {
			continue
		}
		m, err := w.Mounts(ctx, key)
		must(t, err)
		if read(t, m[0].Source+"/f") != "base" || read(t, m[0].Source+"/g") != "top" {
			t.Errorf("%s shows something else", key)
		}
	}
	must(t, w.Cleanup(ctx))
	w.nothingLeft()
}

// TestContextEnds: wherever a call is when its context ends, it says so and has
// done nothing, or it is done; nothing is left of it, and it can be made again.
func TestContextEnds(t *testing.T) {
	if !inBox(t) {
		return
	}
	for what, call := range contextCalls {
		t.Run(what, func(t *testing.T) {
			w := contextWorld(t)
			before := w.list()
			tried := 0
			for n := 1; ; n++ {
				ctx := newLooks(n)
				err := call(ctx, w.Snapshotter)
				ended := ctx.Context.Err() != nil
				ctx.cancel()
				if err == nil {
					if !ended || !reflect.DeepEqual(w.list(), before) {
						break
					}
					continue
				}
				if tried++; !errors.Is(err, context.Canceled) {
					t.Fatalf("look %d: %v", n, err)
				}
				if now := w.list(); !reflect.DeepEqual(now, before) {
					t.Fatalf("look %d: before %q, now %q", n, before, now)
				}
				if left, _ := filepath.Glob(w.root() + "/snapshots/new-*"); len(left) > 0 {
					t.Fatalf("look %d has left %q", n, left)
				}
				eventually(t, fmt.Sprint("look ", n, " has left no mount"), func() bool {
					served, err := w.pool.Served(context.Background())
					points, e := os.ReadDir(w.state("m"))
					return errors.Join(err, e) == nil && len(served) <= 1 && len(points) <= 1
				})
			}
			t.Logf("ended at %d places", tried)
			if tried == 0 {
				t.Error("it never looks at its context")
			}
			late, cancel := context.WithDeadline(context.Background(), time.Now())
			defer cancel()
			if err := call(late, w.Snapshotter); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("too late from the start: %v", err)
			}
			must(t, w.Cleanup(context.Background()))
			w.nothingLeft()
		})
	}
}

// TestContextEndsWhileServerHangs: the server is stopped in the middle of a call.
func TestContextEndsWhileServerHangs(t *testing.T) {
	if !inBox(t) {
		return
	}
	for what, done := range map[string]bool{"prepare": false, "view": false, "mounts": false, "commit": false, "remove": true} {
		t.Run(what, func(t *testing.T) {
			w := contextWorld(t)
			before := w.list()
			eventually(t, "the server of the test before has ended", func() bool { return len(w.servers()) == 1 })
			pid := w.servers()[0]
			must(t, unix.Kill(pid, unix.SIGSTOP))
			defer func() { must(t, unix.Kill(pid, unix.SIGCONT)) }()
			stopped(t, pid)
			// Somebody else waits for the server and the snapshot, longer than we may.
			other := make(chan error, 1)
			go func() { _, err := w.Mounts(context.Background(), "c"); other <- err }()
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			err := contextCalls[what](ctx, w.Snapshotter)
			if len(other) > 0 {
				early := <-other
				if !done || !errdefs.IsNotFound(early) { // it came after a removal
					t.Errorf("it has waited for the server, as the other one: %v", early)
				}
				other <- early
			}
			if done {
				// The record is gone; the mount goes when the server can say so.
				must(t, err)
				must(t, unix.Kill(pid, unix.SIGCONT))
				<-other // it had the record before, or not
				must(t, w.Cleanup(context.Background()))
				w.nothingLeft()
				return
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if now := w.list(); !reflect.DeepEqual(now, before) {
				t.Errorf("before %q, now %q", before, now)
			}
			must(t, unix.Kill(pid, unix.SIGCONT))
			must(t, <-other)
			w.restOf(what, before)
		})
	}
}

// TestCommitGivenUp: what a Commit whose context ended would have found out is
// told to the next one.
func TestCommitGivenUp(t *testing.T) {
	if !inBox(t) {
		return
	}
	for name, fault := range map[string]string{"slow": "", "fails": fmt.Sprintf(",write:%d", unix.EIO)} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PLYFS_FAIL", "copyup.made:sleep"+fault) // the server has it
			w, ctx := newWorld(t), context.Background()
			w.layer("base", "", func(dir string) { write(t, dir+"/d/lower", "old") })
			m := w.prepare("c", "base", nil)
			upper := w.upper("c")
			f, err := os.OpenFile(m[0].Source+"/d/lower", os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteString("new")
			must(t, err)
			late, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			if err := w.Commit(late, "top", "c"); !errors.Is(err, context.DeadlineExceeded) || !w.has("c") || w.has("top") {
				t.Errorf("%v", err)
			}
			err = w.Commit(ctx, "top", "c")
			_ = f.Close()
			if fault != "" {
				if !errors.Is(err, unix.EIO) || !w.has("c") || w.has("top") {
					t.Errorf("%v", err)
				}
				return
			}
			must(t, err)
			if got := read(t, upper+"/d/lower"); got != "new" {
				t.Errorf("the layer has %q", got)
			}
		})
	}
}
