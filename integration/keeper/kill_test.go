package keeper

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// workers is how many processes a load has.
const workers = 8

// soak is how many kills there are to be: few in CI, PLYFS_KILLS in make soak.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("PLYFS_KILLS"))
	if err != nil {
		n = 25
	}
	return n
}

// keeper finds the process of a mount's keeper.
func keeper(t *testing.T, mnt string) int {
	t.Helper()
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		text, err := os.ReadFile(p)
		if err == nil && bytes.HasPrefix(text, []byte("plyfs-keeper\x00")) && bytes.HasSuffix(text, []byte("\x00"+mnt+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			return pid
		}
	}
	t.Fatal("no keeper for ", mnt)
	return 0
}

// server is the process of its server, 0 when there is none in this moment.
func server(keeper int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", keeper))
	if err != nil {
		return 0
	}
	pid := 0
	for f := range strings.FieldsSeq(string(text)) {
		pid, _ = strconv.Atoi(f)
	}
	return pid
}

// load is a mixed load on a mount.
type load struct {
	outs []*bytes.Buffer
	ends []func() error
}

// startLoad starts it; make gives the processes' directories what is in the
// lower layer.
func startLoad(t *testing.T, u *harness.User, prog, mnt string, length time.Duration) *load {
	l := &load{}
	for i := range workers {
		cmd := u.Command(t, prog, "-for", length.String(), "-seed", strconv.Itoa(rand.IntN(1e6)), filepath.Join(mnt, fmt.Sprint("w", i)))
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.outs = append(l.outs, out)
		l.ends = append(l.ends, cmd.Wait)
	}
	return l
}

func lowers(t *testing.T, u *harness.User, prog, dir string) {
	for i := range workers {
		u.Run(t, "mkdir $D && $LOAD -lower $D", "D="+filepath.Join(dir, fmt.Sprint("w", i)), "LOAD="+prog)
	}
}

// slow is a call that took long.
type slow struct{ begun, took int64 } // in microseconds

// wait waits for the load and reports what it found wrong.
func (l *load) wait(t *testing.T) (ops int, calls []slow) {
	t.Helper()
	for i, end := range l.ends {
		err := end()
		for s := bufio.NewScanner(l.outs[i]); s.Scan(); {
			f := strings.Fields(s.Text())
			switch f[0] {
			case "ops":
				n, _ := strconv.Atoi(f[1])
				ops += n
			case "slow":
				var c slow
				c.begun, _ = strconv.ParseInt(f[1], 10, 64)
				c.took, _ = strconv.ParseInt(f[2], 10, 64)
				calls = append(calls, c)
			default:
				t.Errorf("process %d: %s", i, s.Text())
			}
		}
		if err != nil {
			t.Errorf("process %d of the load: %v", i, err)
		}
	}
	return ops, calls
}

// pauses are the longest calls over the moments of the kills, in order.
func pauses(calls []slow, kills []int64) (ms []float64) {
	for _, k := range kills {
		longest := int64(0)
		for _, c := range calls {
			if c.begun <= k+20_000 && c.begun+c.took >= k {
				longest = max(longest, c.took)
			}
		}
		ms = append(ms, float64(longest)/1000)
	}
	slices.Sort(ms)
	return ms
}

// TestKill: the server is killed again and again under a mixed load of eight
// processes, and none of their calls fails or gives a wrong byte.
func TestKill(t *testing.T) {
	prog := harness.Build(t, "./integration/keeper/load")
	t.Run("root", func(t *testing.T) { testKill(t, harness.Root(t), prog) })
	t.Run("user", func(t *testing.T) { testKill(t, harness.Unprivileged(t), prog) })
	t.Run("passthrough", func(t *testing.T) { testKill(t, harness.Root(t), prog, "io=passthrough") })
}

func testKill(t *testing.T, u *harness.User, prog string, options ...string) {
	stack, mnt := u.NewStack(t, 1)
	stack.More = append(stack.More, options...)
	lowers(t, u, prog, stack.Lower[0])
	u.Mount(t, stack, mnt)
	k := keeper(t, mnt)
	n := kills(t)
	const between = 120 // ms, on average
	l := startLoad(t, u, prog, mnt, time.Duration(n*(between+80))*time.Millisecond)
	var at []int64
	for deadline := time.Now().Add(time.Minute); len(at) < n; {
		time.Sleep(time.Duration(40+rand.IntN(2*between-80)) * time.Millisecond)
		if len(at)%3 == 0 {
			// The others may die before they have begun a request, but not five in a row.
			_ = u.Command(t, "stat", filepath.Join(mnt, fmt.Sprint("none", len(at)))).Run()
		}
		if pid := server(k); pid > 0 && unix.Kill(pid, unix.SIGKILL) == nil {
			at = append(at, time.Now().UnixMicro())
			deadline = time.Now().Add(time.Minute)
		}
		if time.Now().After(deadline) {
			t.Fatalf("no server since the kill number %d", len(at))
		}
	}
	ops, calls := l.wait(t)
	p := pauses(calls, at)
	t.Logf("%d kills, %d operations, pause: median %.0f ms, longest %.0f ms", n, ops, p[n/2], p[n-1])
	u.Umount(t, mnt)
	if names, err := os.ReadDir(stack.Work + "/work"); err != nil || len(names) > 0 {
		t.Errorf("the work directory has %v, %v", names, err)
	}
	// What is there is what the kernel's view of the upper would be.
	u.Run(t, "$BIN fsck "+stack.Upper)
}
