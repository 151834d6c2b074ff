package debian

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// edition changes when makebase.sh does, so that no old base is taken.
const edition = "bookworm-1"

// cache gives the directory with base.tar and repo/.
func cache(t *testing.T) string {
	t.Helper()
	require.Tool(t, "mmdebstrap")
	return harness.Cached(t, edition, func(dir string) error {
		cmd := exec.Command("./makebase.sh", dir)
		cmd.Env = append(os.Environ(), "TMPDIR=/var/tmp", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("makebase.sh: %w (it needs the machine's apt sources)\n%s", err, out)
		}
		return nil
	})
}
