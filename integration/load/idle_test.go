package load

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// idleMemory is what the server of a mount that nobody uses may have resident, in kB.
const idleMemory = 12 << 10

// TestIdle: a mount that was looked at once costs little.
func TestIdle(t *testing.T) {
	u := harness.Root(t)
	stack, mnt := u.NewStack(t, 1)
	if err := os.WriteFile(stack.Lower[0]+"/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := serve(t, u, harness.Binary(t), "", stack, mnt)
	if err := unix.Lstat(mnt+"/file", &unix.Stat_t{}); err != nil {
		t.Fatal(err)
	}
	got := s.memory("VmRSS")
	t.Logf("%d kB resident", got)
	if got > idleMemory {
		t.Errorf("%d kB resident, at most %d are wanted", got, idleMemory)
	}
	s.alive()
}
