package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// binary is the command under test. Boxes inherit its path.
const binary = "PLYFS_BIN"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(binary) == "" {
		dir, err := os.MkdirTemp("", "plyfs-hostile-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func build(dir string) error {
	bin := dir + "/plyfs"
	cmd := exec.Command("go", "build", "-o", bin, "github.com/plyfs/plyfs/cmd/plyfs")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	// A box may be another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return os.Setenv(binary, bin)
}

// TestAsRoot tries every case and every refusal in a mount namespace.
func TestAsRoot(t *testing.T) {
	require.FUSE(t)
	if nsbox.Enter(t, nsbox.Mounts) {
		try(t, false)
	}
}

// TestInUserNS tries those that need no rights in a user namespace.
func TestInUserNS(t *testing.T) {
	require.FUSE(t)
	if nsbox.Enter(t, nsbox.User) {
		try(t, true)
	}
}

// TestOfOneUser tries those in a user namespace with one id.
func TestOfOneUser(t *testing.T) {
	require.FUSE(t)
	if nsbox.Enter(t, nsbox.Sole) {
		try(t, true)
	}
}

func try(t *testing.T, userNS bool) {
	bin := os.Getenv(binary)
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Root && userNS {
				t.Skip("makes devices or trusted xattrs")
			}
			c.Try(NewStand(t, bin, userNS))
		})
	}
	for _, r := range Refusals {
		t.Run("refused/"+r.Name, func(t *testing.T) {
			NewStand(t, bin, userNS).Refuse(r)
		})
	}
}
