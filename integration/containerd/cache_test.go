package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// release is as much of containerd's version as the tests care for.
type release int

const (
	one6 release = iota // a proxy has no capabilities, and is no differ
	one7                // the last of version 1
	two
)

// brought is a set of programs that is brought once.
type brought struct {
	edition string // changes when what is brought does
	release release
	bring   func(dir string) error
}

var (
	debian16  = brought{"containerd-debian-1", one6, fromDebian}
	modules17 = brought{"containerd-1.7.35-1", one7, fromModules("containerd17", containerd17...)}
	modern    = brought{"containerd-2.4.2-2", two, fromModules(".", append(containerd24, runc)...)}
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

var (
	containerd17 = commands("github.com/containerd/containerd/cmd/")
	containerd24 = commands("github.com/containerd/containerd/v2/cmd/")
)

// runc: Debian's has no idmapped mounts, which a pod in a user namespace needs.
const runc = "github.com/opencontainers/runc"

func commands(module string) []string {
	return []string{module + "containerd", module + "containerd-shim-runc-v2", module + "ctr"}
}

// fromModules builds what the go.mod of a directory of ../peers pins. Only runc
// needs cgo.
func fromModules(at string, packages ...string) func(string) error {
	return func(dir string) error {
		for _, p := range packages {
			cmd := exec.Command("go", "build", "-trimpath", "-tags", "no_btrfs", "-ldflags", "-s -w", "-o", dir+"/", p)
			cmd.Dir = filepath.Join("../peers", at)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if p == runc {
				cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s from modules: %w\n%s", p, err, out)
			}
		}
		return nil
	}
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
