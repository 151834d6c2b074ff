package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestDemo(t *testing.T) {
	require.FUSE(t)
	require.Tool(t, "fusermount3")
	if !harness.IsPlyfs() {
		t.Skip("the demonstration is of plyfs only")
	}
	cmd := exec.Command("./demo.sh", harness.Binary(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("demo.sh: %v\n%s", err, out)
	}
	for _, want := range []string{"the merged view:", "whiteout", "opaque", "nothing is left"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demonstration doesn't say %q:\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob("/var/tmp/plyfs-demo.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), "plyfs-demo") {
		t.Errorf("still mounted (%v):\n%s", err, mounts)
	}
}
