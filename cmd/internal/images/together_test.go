package images

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/fail"
)

// TestPullTwice has several pulls of one image at once, in one store.
func TestPullTwice(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	f.pullTogether(t, t.TempDir(), 4).Wait()
	if len(f.gets) != 4 {
		t.Errorf("%d blobs were fetched for one image of 4", len(f.gets))
	}
}

// TestPullDawdles has a pull stay where it gives up the lock of a blob, while
// others come.
func TestPullDawdles(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	fail.Arm("image.named", "sleep", 1)
	defer fail.Disarm()
	root := t.TempDir()
	first := f.pullTogether(t, root, 1)
	count := func(pattern string) int {
		names, _ := filepath.Glob(filepath.Join(root, "images", pattern))
		return len(names)
	}
	for range 30_000 { // until the configuration is there, beside the manifest, or nobody holds it
		if count("blobs/sha256/*") > 1 || count("partial/[0-9a-f]*") > 0 && count("partial/*.lock") == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	f.pullTogether(t, root, 3).Wait()
	first.Wait()
	if len(f.gets) != 4 {
		t.Errorf("%d blobs were fetched for one image of 4", len(f.gets))
	}
}

// TestSettleTwice: the layers of one image are marked by one of several.
func TestSettleTwice(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, newBuilder(t).files(reg("a", "1")), "x:1", &ship.Remote{})
	root := t.TempDir()
	s, err := ship.New(root, unpack)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(context.Background(), threeLayers(t).dir("old"), "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	fail.Arm("image.settling", "sleep", 1)
	defer fail.Disarm()
	passed := fail.Record()
	f.pullTogether(t, root, 4).Wait()
	if n := passed()["image.settling"]; n != 3 && n != 4 { // that of x, too, if somebody comes that late
		t.Errorf("4 layers were marked %d times", n)
	}
	layerDirs(t, s, "old")
}

// pullTogether begins pulls of x:1, each with a Shipper of its own.
func (f *faulty) pullTogether(t *testing.T, root string, n int) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			s, err := ship.New(root, unpack)
			if err == nil {
				_, err = s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	return &wg
}
