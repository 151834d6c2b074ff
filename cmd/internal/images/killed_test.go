package images

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/container/image/ship"
)

// TestPullKilled: a pull that is killed with a blob all there, and not yet in its
// place, has made no image; the next one takes the blob as it is.
func TestPullKilled(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	root := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "pull", f.host+"/x:1")
	cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+root, "PLYFS_FAIL=image.fetched:kill:2")
	out, err := cmd.CombinedOutput()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := ship.New(root, unpack)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := s.Store.List(); err != nil || len(list) > 0 {
		t.Errorf("images %v, %v", list, err)
	}
	e, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(layerDirs(t, s, e.ID)); n != 3 {
		t.Errorf("%d layers", n)
	}
	if faults, err := s.Check(false); err != nil || len(faults) > 0 {
		t.Errorf("%v, %v", faults, err)
	}
}
