package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// brought is a set of programs that is brought once.
type brought struct {
	edition string // changes when what is brought does
	bring   func(dir string) error
}

var (
	debian16 = brought{"containerd-debian-1", fromDebian}
	modern   = brought{"containerd-2.4.2-2", fromModules}
)

// dir is the directory with the programs.
func (b brought) dir(t *testing.T) string {
	t.Helper()
	return harness.Cached(t, b.edition, b.bring)
}

// fromDebian takes the programs out of the package: an install would start a
// service.
func fromDebian(dir string) error {
	script := `cd "$1"; chmod 755 .; apt-get -o APT::Sandbox::User=root download -q containerd; dpkg -x containerd_*.deb x; mv x/usr/bin/* .; rm -rf x containerd_*.deb`
	out, err := exec.Command("sh", "-euc", script, "sh", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("containerd from Debian (it needs the machine's apt sources): %w\n%s", err, out)
	}
	return nil
}

// fromModules builds what ../peers pins.
func fromModules(dir string) error {
	const module = "github.com/containerd/containerd/v2/cmd/"
	for _, build := range []struct {
		cgo  string
		args []string
	}{
		{"0", []string{module + "containerd", module + "containerd-shim-runc-v2", module + "ctr"}},
		// Debian's has no idmapped mounts, which a pod in a user namespace needs.
		{"1", []string{"github.com/opencontainers/runc"}},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-tags", "no_btrfs", "-ldflags", "-s -w", "-o", dir + "/"}, build.args...)...)
		cmd.Dir = "../peers"
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("containerd from modules: %w\n%s", err, out)
		}
	}
	return nil
}

// peerFromModules builds the snapshotter that ours is measured beside.
func peerFromModules(dir string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "github.com/containerd/fuse-overlayfs-snapshotter/v2/cmd/containerd-fuse-overlayfs-grpc")
	cmd.Dir = "../peers/fuseoverlayfs"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fuse-overlayfs-snapshotter from modules: %w\n%s", err, out)
	}
	return nil
}

// needs says what the tests of this package need of the machine.
func needs(t *testing.T) *harness.User {
	t.Helper()
	require.FUSE(t)
	require.Overlay(t)
	require.Tool(t, "runc")
	require.Tool(t, "busybox")
	return harness.Root(t)
}
