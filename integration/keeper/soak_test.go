package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

// TestKillSoak kills a thousand servers, or PLYFS_KILLS, and shows beside it what
// one death is for whoever works in a mount of fuse-overlayfs.
func TestKillSoak(t *testing.T) {
	if os.Getenv("PLYFS_SOAK") == "" {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
	prog := harness.Build(t, "./integration/keeper/load")
	n := kills(1000)
	t.Run("user", func(t *testing.T) { testKill(t, harness.Unprivileged(t), prog, n) })
	t.Run("passthrough", func(t *testing.T) { testKill(t, harness.Root(t), prog, n, "io=passthrough") })
	t.Run("fuse-overlayfs", func(t *testing.T) { dies(t, harness.Unprivileged(t), prog) })
}

// dies shows what a mount without a keeper does.
func dies(t *testing.T, u *harness.User, prog string) {
	other := require.Tool(t, "fuse-overlayfs")
	stack, mnt := u.NewStack(t, 1)
	lowers(t, u, prog, stack.Lower[0])
	u.Run(t, other+" -o "+stack.Options()+" $M", "M="+mnt)
	t.Cleanup(func() { u.Run(t, "fusermount3 -uz $M", "M="+mnt) })
	pid := 0
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		text, _ := os.ReadFile(p)
		if args := strings.Split(string(text), "\x00"); args[0] == other && strings.Contains(string(text), "\x00"+mnt+"\x00") {
			_, _ = fmt.Sscan(filepath.Base(filepath.Dir(p)), &pid)
		}
	}
	if pid == 0 {
		t.Fatal("no server")
	}
	l := startLoad(t, u, prog, mnt)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if made, _ := filepath.Glob(stack.Upper + "/w*"); len(made) == workers || time.Now().After(deadline) {
			break // all are at work
		}
	}
	must(t, unix.Kill(pid, unix.SIGKILL))
	failed := 0
	for i, c := range l.cmds {
		if c.Wait() != nil {
			failed++
			lines := strings.Split(strings.TrimSpace(l.outs[i].String()), "\n")
			t.Logf("process %d: %s", i, lines[len(lines)-1])
		}
	}
	t.Logf("1 kill: %d of %d processes end with an error; there is no mount any more", failed, workers)
}
