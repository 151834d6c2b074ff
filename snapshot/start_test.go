package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/layer"
)

// nothingMounted is a Mounter for snapshots that need no mount.
type nothingMounted struct{}

func (nothingMounted) Mount(context.Context, string, *layer.Options) error { return os.ErrInvalid }
func (nothingMounted) Unmount(context.Context, string) error               { return nil }
func (nothingMounted) Served(context.Context) (map[string]bool, error)     { return nil, nil }
func (nothingMounted) Serves(context.Context, string) (bool, error)        { return false, nil }
func (nothingMounted) Sync(context.Context, string) error                  { return nil }
func (nothingMounted) Lost() <-chan struct{}                               { return nil }
func (nothingMounted) Usage(context.Context, string) (Usage, bool, error)  { return Usage{}, false, nil }

// TestNewReadsNoRecords: New is back before the records have been read, and a
// call waits for that.
func TestNewReadsNoRecords(t *testing.T) {
	dir := t.TempDir()
	c := Config{Root: dir + "/root", State: dir + "/state", Mounter: nothingMounted{}}
	const records = 10000
	s, err := New(c)
	if err == nil {
		err = manyRecords(s, records)
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	fail.Arm("metadata.check", "sleep", 1)
	defer fail.Disarm()
	begin := time.Now()
	s, err = New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	took := time.Since(begin)
	select {
	case <-s.checked:
		t.Error("New has waited for the records")
	default:
	}
	n := 0
	err = s.Walk(context.Background(), func(context.Context, snapshots.Info) error { n++; return nil })
	if err != nil || n != records {
		t.Errorf("%d records, %v", n, err)
	}
	t.Logf("New took %v", took)
	fail.Disarm()
	begin = time.Now()
	s.damage, s.checked = nil, make(chan struct{})
	s.checkDatabase()
	t.Logf("reading %d records took %v", records, time.Since(begin))
}

// manyRecords makes committed snapshots in one transaction.
func manyRecords(s *Snapshotter, n int) error {
	return s.tx(context.Background(), true, func(ctx context.Context) error {
		for i := range n {
			key := fmt.Sprint("key ", i)
			made, err := storage.CreateSnapshot(ctx, snapshots.KindActive, key, "")
			if err == nil {
				err = os.MkdirAll(filepath.Join(s.snapshots(), made.ID), 0o700)
			}
			if err == nil {
				_, err = storage.CommitActive(ctx, key, fmt.Sprint("layer ", i), snapshots.Usage{Inodes: 1})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
