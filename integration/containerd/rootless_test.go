package containerd

import (
	"os"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
	"golang.org/x/sys/unix"
)

// TestRootless is a containerd of an unprivileged user in RootlessKit, with our
// daemon beside it. Layers are unpacked and made by our own differ there.
func TestRootless(t *testing.T) {
	needs(t)
	require.UserNS(t)
	require.Tool(t, "rootlesskit")
	require.Tool(t, "nsenter")
	s := newStandOf(t, harness.Unprivileged(t), modern, (*stand).enterRootlessKit)
	layers := testLayers(t)
	s.importImage(layers)
	s.calls("Apply", len(layers))
	s.sameListing()
	s.runs()
	s.container()
	s.calls("Diff", 1)
	s.daemonDies()
	s.serverDies()
	s.ctr("snapshot", "--snapshotter", "plyfs", "rm", "committed")
	s.ctr("image", "rm", "--sync", image)
	s.nothingLeft()
}

// enterRootlessKit starts RootlessKit, as containerd-rootless.sh does, with a
// process that holds its namespaces.
func (s *stand) enterRootlessKit() {
	s.t.Helper()
	hold := `rm -f /run/*; touch "$1"; exec sleep infinity`
	p := s.start("rootlesskit", s.command("rootlesskit", "--state-dir", s.path("rk"), "--copy-up=/run", "--net=host", "--propagation=rslave",
		"sh", "-euc", hold, "sh", s.path("held")))
	s.t.Cleanup(func() { p.end(unix.SIGTERM) })
	s.eventually("RootlessKit has its namespaces", func() bool { _, err := os.Stat(s.path("held")); return err == nil })
	pid, err := os.ReadFile(s.path("rk/child_pid"))
	must(s.t, err)
	s.inside = []string{"nsenter", "--preserve-credentials", "--user", "--mount", "--wd=" + s.dir, "--target", strings.TrimSpace(string(pid))}
}

// calls says whether containerd has called our differ n times with success.
func (s *stand) calls(method string, n int) {
	s.t.Helper()
	have := 0
	for line := range strings.Lines(s.daemonLog()) {
		if strings.Contains(line, "method="+method+" ") && strings.Contains(line, "error=<nil>") {
			have++
		}
	}
	if have != n {
		s.t.Errorf("%d calls of %s that went well, want %d", have, method, n)
	}
}

// sameListing compares what containers of both snapshotters see of the image.
func (s *stand) sameListing() {
	s.t.Helper()
	// runc makes what it mounts on. Whoever puts a name into a directory that
	// the layer doesn't describe changes its time, in a user namespace.
	script := `cd /
all="find . -xdev ( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run ) -prune -o ! -path ."
busybox $all -type d -exec busybox stat -c '%n %f %u %g' {} + | busybox sort
busybox $all ! -type d -exec busybox stat -c '%n %f %u %g %h %s %Y' {} + | busybox sort
busybox $all -type f -exec busybox sha256sum {} + | busybox sort`
	var saw [2]string
	for i, sn := range []string{"plyfs", "overlayfs"} {
		saw[i] = s.ctr("run", "--rm", "--snapshotter", sn, image, "l-"+sn, "sh", "-euc", script)
	}
	if n := strings.Count(saw[0], "\n"); saw[0] != saw[1] || n < 50 {
		s.t.Errorf("plyfs (%d lines):\n%s\noverlayfs:\n%s", n, saw[0], saw[1])
	}
}
