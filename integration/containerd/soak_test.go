package containerd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// soak is the load: what has gone well of it, counted.
type soak struct {
	*kubelet
	deadline                 time.Time
	containers, pods, images atomic.Int64
	kills                    [2]int // of our daemon and of containerd
}

// TestSoak kills our daemon and containerd at random moments while containers,
// pods and images come and go. In the end everything works, and nothing is
// left. PLYFS_SOAK says how long it runs.
func TestSoak(t *testing.T) {
	length := 30 * time.Second
	if v := os.Getenv("PLYFS_SOAK"); v != "" {
		d, err := time.ParseDuration(v)
		must(t, err)
		length = d
	}
	s := newStand(t, modern, (*stand).serveCRI)
	layers := testLayers(t)
	archive(t, s.path("image.tar"), image, layers)
	archive(t, s.path("pause.tar"), pause, layers[:1], "-c", "while :; do sleep 1000; done")
	archive(t, s.path("comes.tar"), comes, [][]byte{layers[0], newLayer(t).file("comes", "and goes\n").bytes()})
	for _, name := range []string{"image.tar", "pause.tar"} {
		s.ctr("image", "import", s.path(name))
	}
	k := &soak{kubelet: dialCRI(t, s, s.path("c.sock"), length+2*time.Minute)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	// A container that lives through all of it.
	s.ctr("run", "-d", "--snapshotter", "plyfs", image, "survivor", "sh", "-c", "i=0; while echo $i >/d/alive; do i=$((i+1)); sleep 0.05; done; sleep 100000")
	k.deadline = time.Now().Add(length)
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() { k.runContainers(n) })
	}
	wg.Go(k.runPods)
	wg.Go(k.runImages)
	k.kill(rand.New(rand.NewPCG(seed, 0)))
	wg.Wait()
	t.Logf("%d containers, %d pods and %d unpacked images went well, through %d kills of the daemon and %d of containerd",
		k.containers.Load(), k.pods.Load(), k.images.Load(), k.kills[0], k.kills[1])
	if k.containers.Load() == 0 || k.pods.Load() == 0 || k.images.Load() == 0 {
		t.Error("one of the loads never went well")
	}
	s.eventually("a container runs", func() bool {
		out, err := s.tryCtr("run", "--rm", "--snapshotter", "plyfs", image, fmt.Sprintf("last%d", time.Now().UnixNano()), "cat", "/top")
		return err == nil && out == "top\n"
	})
	was := s.ctr("task", "exec", "--exec-id", "x1", "survivor", "cat", "/d/alive")
	s.eventually("the survivor writes", func() bool {
		return s.ctr("task", "exec", "--exec-id", fmt.Sprintf("x%d", time.Now().UnixNano()), "survivor", "cat", "/d/alive") != was
	})
	s.eventually("all pods are gone", func() bool { return k.removePods() == nil })
	s.sweep()
	for _, name := range strings.Fields(s.ctr("image", "ls", "-q")) {
		s.quiet("image", "rm", "--sync", name)
	}
	s.nothingLeft()
}

// comes is an image that comes and goes.
const comes = "docker.io/library/comes:test"

// kill ends one of the two daemons, and starts it again.
func (k *soak) kill(random *rand.Rand) {
	for time.Now().Before(k.deadline) {
		time.Sleep(time.Duration(300+random.IntN(1500)) * time.Millisecond)
		if random.IntN(3) == 0 {
			k.containerdP.end(unix.SIGKILL)
			k.startContainerd()
			k.kills[1]++
		} else {
			k.daemonP.end(unix.SIGKILL)
			k.startDaemon()
			k.kills[0]++
		}
	}
}

// goesOn says whether a load is to go on: a slow machine has a minute more,
// without kills, for the first that goes well.
func (k *soak) goesOn(well *atomic.Int64) bool {
	return time.Now().Before(k.deadline) || well.Load() == 0 && time.Now().Before(k.deadline.Add(time.Minute))
}

// runContainers runs one after the other: whatever fails, what a container
// reads is right.
func (k *soak) runContainers(n int) {
	for i := 0; k.goesOn(&k.containers); i++ {
		id := fmt.Sprintf("w%d-%d", n, i)
		want := id + "\nchanged\n"
		out, err := k.tryCtr("run", "--rm", "--snapshotter", "plyfs", image, id, "sh", "-c", "echo "+id+" >/d/own; cat /d/own /d/stays")
		if err == nil && out == want {
			k.containers.Add(1)
		} else if err == nil && out != "" && !strings.HasPrefix(want, out) {
			k.t.Errorf("%s says %q", id, out)
		}
	}
}

// runImages unpacks an image and removes it.
func (k *soak) runImages() {
	for k.goesOn(&k.images) {
		_, err := k.tryCtr("image", "import", "--snapshotter", "plyfs", k.path("comes.tar"))
		if _, e := k.tryCtr("image", "rm", "--sync", comes); err == nil && e == nil {
			k.images.Add(1)
		}
	}
}

// runPods has one pod after the other, and removes what failed, as kubelet
// does.
func (k *soak) runPods() {
	for i := 0; k.goesOn(&k.pods); i++ {
		err := k.tryPod(fmt.Sprintf("s%d", i))
		if e := k.removePods(); err == nil && e == nil {
			k.pods.Add(1)
		}
	}
}

func (k *soak) tryPod(name string) error {
	config := k.podConfig(name, nil)
	r, err := k.run.RunPodSandbox(k.ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	c, err := k.run.CreateContainer(k.ctx, &cri.CreateContainerRequest{
		PodSandboxId: r.PodSandboxId, SandboxConfig: config, Config: k.containerConfig(config, "c", "echo "+name+" >/d/own; sleep 100000"),
	})
	if err != nil {
		return err
	}
	if _, err := k.run.StartContainer(k.ctx, &cri.StartContainerRequest{ContainerId: c.ContainerId}); err != nil {
		return err
	}
	out, err := k.run.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: c.ContainerId, Cmd: []string{"cat", "/d/stays"}, Timeout: 10})
	if err == nil && out.ExitCode == 0 && string(out.Stdout) != "changed\n" {
		k.t.Errorf("pod %s reads %q", name, out.Stdout)
	}
	return err
}

// removePods removes all that there are.
func (k *soak) removePods() error {
	r, err := k.run.ListPodSandbox(k.ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, p := range r.Items {
		_, err1 := k.run.StopPodSandbox(k.ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.Id})
		_, err2 := k.run.RemovePodSandbox(k.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id})
		err = errors.Join(err, err1, err2)
	}
	return err
}

// sweep removes what clients that lost their containerd have left, as an
// administrator would.
func (s *stand) sweep() {
	s.t.Helper()
	for id := range strings.FieldsSeq(s.ctr("container", "ls", "-q")) {
		s.quiet("task", "kill", "-s", "KILL", id)
		var last error
		s.eventually("the task of "+id+" is gone", func() bool {
			_, err := s.tryCtr("task", "rm", "-f", id)
			there := slices.Contains(strings.Fields(s.quiet("task", "ls", "-q")), id)
			if err != nil && there && (last == nil || err.Error() != last.Error()) {
				s.t.Log(err)
				last = err
			}
			return err == nil || !there
		})
		s.ctr("container", "rm", id)
	}
	s.endLostShims()
	for line := range strings.Lines(s.ctr("leases", "ls")) {
		// Of clients whose containerd was killed: they end by themselves after a day.
		s.quiet("leases", "rm", strings.Fields(line)[0])
	}
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
