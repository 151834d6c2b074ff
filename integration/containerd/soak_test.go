package containerd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSoak kills our daemon and containerd at random moments while containers
// come and go. In the end everything works, and nothing is left. PLYFS_SOAK
// says how long it runs.
func TestSoak(t *testing.T) {
	length := 15 * time.Second
	if v := os.Getenv("PLYFS_SOAK"); v != "" {
		d, err := time.ParseDuration(v)
		must(t, err)
		length = d
	}
	s := newStand(t, modern)
	layers := testLayers(t)
	archive(t, s.path("image.tar"), image, layers)
	s.ctr("image", "import", s.path("image.tar"))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// A container that lives through all of it.
	s.ctr("run", "-d", "--snapshotter", "plyfs", image, "survivor", "sh", "-c", "i=0; while echo $i >/d/alive; do i=$((i+1)); sleep 0.05; done; sleep 100000")
	deadline := time.Now().Add(length)
	var wg sync.WaitGroup
	done := [2]int{}
	for n := range done {
		wg.Go(func() {
			for i := 0; time.Now().Before(deadline); i++ {
				id := fmt.Sprintf("w%d-%d", n, i)
				want := id + "\nchanged\n"
				out, err := s.tryCtr("run", "--rm", "--snapshotter", "plyfs", image, id, "sh", "-c", "echo "+id+" >/d/own; cat /d/own /d/stays")
				if err == nil && out == want {
					done[n]++
				} else if err == nil && out != "" && !strings.HasPrefix(want, out) {
					t.Errorf("%s says %q", id, out)
				}
			}
		})
	}
	kills := 0
	for time.Now().Before(deadline) {
		time.Sleep(time.Duration(300+random.IntN(1500)) * time.Millisecond)
		if random.IntN(3) == 0 {
			s.containerdP.end(unix.SIGKILL)
			s.startContainerd()
		} else {
			s.daemonP.end(unix.SIGKILL)
			s.startDaemon()
		}
		kills++
	}
	wg.Wait()
	t.Logf("%d containers ran through %d kills", done[0]+done[1], kills)
	if done[0]+done[1] == 0 {
		t.Error("no container ran")
	}
	s.eventually("a container runs", func() bool {
		out, err := s.tryCtr("run", "--rm", "--snapshotter", "plyfs", image, fmt.Sprintf("last%d", time.Now().UnixNano()), "cat", "/top")
		return err == nil && out == "top\n"
	})
	was := s.ctr("task", "exec", "--exec-id", "x1", "survivor", "cat", "/d/alive")
	s.eventually("the survivor writes", func() bool {
		return s.ctr("task", "exec", "--exec-id", fmt.Sprintf("x%d", time.Now().UnixNano()), "survivor", "cat", "/d/alive") != was
	})
	s.sweep()
	must(t, os.Remove(s.path("image.tar")))
	s.ctr("image", "rm", "--sync", image)
	s.nothingLeft()
}

// sweep removes what clients that lost their containerd have left, as an
// administrator would.
func (s *stand) sweep() {
	s.t.Helper()
	for id := range strings.FieldsSeq(s.ctr("container", "ls", "-q")) {
		s.quiet("task", "kill", "-s", "KILL", id)
		s.eventually("the task of "+id+" is gone", func() bool {
			_, err := s.tryCtr("task", "rm", "-f", id)
			return err == nil || !strings.Contains(s.quiet("task", "ls", "-q"), id)
		})
		s.ctr("container", "rm", id)
	}
	s.endLostShims()
	for line := range strings.Lines(s.ctr("snapshot", "--snapshotter", "plyfs", "ls")) {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == "Active" {
			s.quiet("snapshot", "--snapshotter", "plyfs", "rm", f[0])
		}
	}
}

// endLostShims ends the shims that a killed containerd had started and not
// written down: a new one doesn't know of them.
func (s *stand) endLostShims() {
	s.t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	must(s.t, err)
	for _, p := range procs {
		cmdline, _ := os.ReadFile(p + "/cmdline")
		if !strings.Contains(string(cmdline), "containerd-shim-runc-v2\x00") || !strings.Contains(string(cmdline), "\x00"+s.path("c.sock")+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(p))
		must(s.t, err)
		s.t.Logf("shim %d is nobody's", pid)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	must(s.t, os.RemoveAll("/run/containerd/runc/"+s.namespace()))
}
