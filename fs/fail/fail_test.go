package fail

import (
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if p := os.Getenv("PLYFS_FAIL_POINT"); p != "" {
		for range 3 {
			Point(p)
			_, _ = os.Stdout.WriteString("passed\n")
		}
		os.Exit(int(Err("other")))
	}
	os.Exit(m.Run())
}

func TestErr(t *testing.T) {
	defer Disarm()
	if e := Err("a"); e != 0 {
		t.Errorf("off: %v", e)
	}
	Arm("a", "28", 0)
	Arm("b", "5", 3)
	for i, want := range []syscall.Errno{syscall.ENOSPC, 0, 0} {
		if e := Err("a"); e != want {
			t.Errorf("passing %d of a: %v", i, e)
		}
	}
	for i, want := range []syscall.Errno{0, 0, syscall.EIO, 0} {
		if e := Err("b"); e != want {
			t.Errorf("passing %d of b: %v", i, e)
		}
	}
	if e := Err("c"); e != 0 {
		t.Errorf("another one: %v", e)
	}
	Arm("a", "nonsense", 1)
	if e := Err("a"); e != 0 {
		t.Errorf("nonsense: %v", e)
	}
	Arm("a", "28", 1)
	Disarm()
	if e := Err("a"); e != 0 {
		t.Errorf("disarmed: %v", e)
	}
}

func TestSleep(t *testing.T) {
	defer Disarm()
	Arm("s", "sleep", 1)
	start := time.Now()
	Point("s")
	if d := time.Since(start); d < time.Second {
		t.Errorf("slept %v", d)
	}
	// One that sleeps does not stop the others.
	Arm("s", "sleep", 1)
	go Point("s")
	time.Sleep(10 * time.Millisecond)
	if start = time.Now(); Err("other") != 0 || time.Since(start) > 500*time.Millisecond {
		t.Error("another failpoint waited")
	}
}

// Of many that pass at once exactly one acts.
func TestConcurrent(t *testing.T) {
	defer Disarm()
	Arm("x", "5", 50)
	var hits atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if Err("x") != 0 {
				hits.Add(1)
			}
		}()
	}
	wg.Wait()
	if hits.Load() != 1 {
		t.Errorf("%d acted", hits.Load())
	}
}

func TestEnvironment(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PLYFS_FAIL=die:kill:2,other:7", "PLYFS_FAIL_POINT=die")
	out, err := cmd.Output()
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err == nil || !ok || ws.Signal() != syscall.SIGKILL || string(out) != "passed\n" {
		t.Errorf("%q, %v", out, err)
	}
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PLYFS_FAIL=die:kill:4,other:7", "PLYFS_FAIL_POINT=die")
	if _, err := cmd.Output(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v", err)
	}
}

func BenchmarkOff(b *testing.B) {
	for b.Loop() {
		Point("x")
	}
}
