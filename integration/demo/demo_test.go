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

// TestDemo runs it as an ordinary user and as root, who has no network.
func TestDemo(t *testing.T) {
	require.FUSE(t)
	require.UserNS(t)
	require.Tool(t, "fusermount3")
	require.Tool(t, "busybox")
	if !harness.IsPlyfs() {
		t.Skip("the demonstration is of plyfs only")
	}
	t.Run("user", func(t *testing.T) {
		u := harness.Unprivileged(t)
		dir := u.Dir(t)
		if out, err := exec.Command("sh", "-c", "install -m 0755 *.sh "+dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		check(t, u.Command(t, dir+"/demo.sh", harness.Binary(t)))
	})
	t.Run("root", func(t *testing.T) {
		root := harness.Root(t)
		script, err := filepath.Abs("demo.sh")
		if err != nil {
			t.Fatal(err)
		}
		out := check(t, root.Command(t, "unshare", "--net", script, harness.Binary(t)))
		if !strings.Contains(out, "OOMKilled is true") {
			t.Errorf("root's memory limit was not shown in force:\n%s", out)
		}
	})
}

func check(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	text, err := cmd.CombinedOutput()
	out := string(text)
	if err != nil {
		t.Fatalf("demo.sh: %v\n%s", err, out)
	}
	for _, want := range []string{
		"user namespaces: a FUSE mount in one works",
		"the merged view:", "whiteout",
		"hello from a program that the host does not have", "A /usr/bin/plyfs-hello", "D /usr/share/doc/", "plyfs-hello: not there",
		"plyfs run --name hog", "nothing is left",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demonstration doesn't say %q:\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob("/var/tmp/plyfs-demo.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), "plyfs-demo") {
		t.Errorf("still mounted (%v):\n%s", err, mounts)
	}
	return out
}
