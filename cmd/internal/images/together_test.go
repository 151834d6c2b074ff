package images

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// TestPullKilledMidway kills a pull while a layer comes, by SIGKILL: nothing is visible, what
// has come is kept, and the next pull asks for the rest alone.
func TestPullKilledMidway(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	real := f.Server.Config.Handler
	const half = 100_000
	f.blob = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		rec := httptest.NewRecorder()
		real.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), whole{}, true)))
		body := rec.Body.Bytes()
		if len(body) < half { // the configuration
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:half])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	root := t.TempDir()
	pull := func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", "pull", "-q", f.host+"/x:1")
		cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+root)
		return cmd
	}
	cmd := pull()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun := func() (n int) {
		names, _ := filepath.Glob(filepath.Join(root, "images/partial/[0-9a-f]*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() == half {
				n++
			}
		}
		return n
	}
	for i := 0; begun() < 3; i++ {
		if i > 6000 {
			t.Fatal("three layers don't come")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	s, err := ship.New(root, unpack)
	if err != nil {
		t.Fatal(err)
	}
	nothingNew(t, s)
	if blobs, _ := os.ReadDir(filepath.Join(root, "images/blobs/sha256")); len(blobs) != 2 {
		t.Errorf("%d blobs are there, and not the manifest and the configuration", len(blobs))
	}
	f.mu.Lock()
	f.blob, f.ranges = nil, nil
	f.mu.Unlock()
	if out, err := pull().CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := strings.Join(f.ranges, " "); strings.Count(got, "bytes=100000-") != 3 || len(f.ranges) != 3 {
		t.Errorf("ranges asked for: %q", f.ranges)
	}
	if faults, err := s.Check(false); err != nil || len(faults) > 0 {
		t.Errorf("%v, %v", faults, err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "images/partial/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// whole marks the request that a test makes of its own registry.
type whole struct{}

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
