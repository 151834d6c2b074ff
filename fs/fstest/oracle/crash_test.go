package oracle

import (
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

// TestCrashes kills the server at failpoints of random sequences.
func TestCrashes(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		crashAtLeast(t, RootMode(), false, 5)
	}
}

// TestCrashesInUserNS is the same without rights.
func TestCrashesInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		crashAtLeast(t, UserMode(), false, 5)
	}
}

// TestCrashesAtInstants kills it at any time.
func TestCrashesAtInstants(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		crashAtLeast(t, RootMode(), true, 5)
	}
}

// crashAtLeast plays sequences until the server was killed so often.
func crashAtLeast(t *testing.T, mode *Mode, instants bool, want int) {
	t.Helper()
	n := 0
	for round := 0; n < want && !t.Failed(); round++ {
		if round == 50 {
			t.Fatalf("killed %d times only", n)
		}
		n += crash(t, mode, instants, 4)
	}
}

// crash plays so many sequences, and gives how often the server was killed.
func crash(t *testing.T, mode *Mode, instants bool, count int) int {
	t.Helper()
	if err := TakeThread(); err != nil {
		t.Fatal(err)
	}
	set("rapid.checks", strconv.Itoa(count))
	p := NewPlyfs(t, mode.UserXattr)
	w := world(t, mode, p)
	w.Instants = instants
	rapid.Check(t, w.RunCrash)
	t.Logf("killed %d times", w.crashes)
	return w.crashes
}

// TestCrashSoak goes on until it was killed PLYFS_CRASHES times, 10,000 unless
// that is set, or for PLYFS_SOAK; half of it at failpoints.
func TestCrashSoak(t *testing.T) {
	d := soak(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	want, err := strconv.Atoi(os.Getenv("PLYFS_CRASHES"))
	if err != nil {
		want = 10_000
	}
	n, end := 0, time.Now().Add(2*d)
	for round := 0; n < want && time.Now().Before(end) && !t.Failed(); round++ {
		n += crash(t, RootMode(), round%2 == 1, 100)
	}
	t.Logf("killed %d times in all", n)
}
