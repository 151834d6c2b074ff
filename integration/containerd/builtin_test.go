package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestCompiledIn builds containerd with the snapshotter in it and runs
// containers on it, through a restart.
func TestCompiledIn(t *testing.T) {
	u := needs(t)
	s := &stand{t: t, user: u, release: two, bin: modern.dir(t), daemon: harness.Build(t, "./cmd/containerd-plyfs-grpc"), dir: u.Dir(t)}
	// As the peers are built, so that they share the compiler's cache.
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "no_btrfs", "-ldflags", "-s -w", "-o", s.path("containerd"), ".")
	cmd.Dir = "../../plugin/example"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("plugin/example: %v\n%s", err, out)
	}
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.snapshotter.v1.plyfs"]
  server = %q
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "plyfs"
`, s.path("root"), s.path("c"), s.path("c.sock"), s.daemon)
	must(t, os.WriteFile(s.path("config.toml"), []byte(config), 0o600))
	begin := func() {
		s.containerdP = s.start("containerd", s.command(s.path("containerd"), "--config", s.path("config.toml")))
		s.eventually("containerd serves", func() bool { return s.command(s.bin+"/ctr", "-a", s.path("c.sock"), "version").Run() == nil })
	}
	t.Cleanup(s.end)
	begin()
	if out := s.ctr("plugin", "ls", "-d", "id==plyfs"); !strings.Contains(out, "remap-ids") || !strings.Contains(out, "rebase") {
		t.Errorf("capabilities: %s", out)
	}
	layers := testLayers(t)
	archive(t, s.path("image.tar"), image, layers)
	s.ctr("image", "import", s.path("image.tar"))
	s.ctr("image", "import", "--local", "--snapshotter", "overlayfs", s.path("image.tar"))
	must(t, os.Remove(s.path("image.tar")))
	s.sameTree(chainID(layers))
	s.runs()
	s.ctr("run", "-d", "--snapshotter", "plyfs", image, "c1", "sleep", "100000")
	s.containerdP.end(9)
	begin()
	if out := s.ctr("task", "exec", "--exec-id", "e1", "c1", "cat", "/d/stays"); out != "changed\n" {
		t.Errorf("after the restart: %q", out)
	}
	s.sweep()
	s.ctr("image", "rm", "--sync", image)
	root, state := s.path("root/io.containerd.snapshotter.v1.plyfs"), s.path("c/io.containerd.snapshotter.v1.plyfs")
	for _, dir := range []string{root + "/snapshots", root + "/trash", state + "/m"} {
		s.eventually(dir+" is empty", func() bool {
			left, err := os.ReadDir(dir)
			return err == nil && len(left) == 0
		})
	}
	if names, _ := filepath.Glob(state + "/s/*.sock"); len(names) > 1 {
		t.Errorf("servers without mounts: %v", names)
	}
}
