package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const pause = "docker.io/library/pause:test"

// kubelet is as much of a kubelet as a pod needs.
type kubelet struct {
	*stand
	ctx context.Context
	run cri.RuntimeServiceClient
	img cri.ImageServiceClient
}

// TestCRI does what kubelet does: pods with host network, exec, logs, stats, a
// user namespace, many of them, and removal.
func TestCRI(t *testing.T) {
	s := newStand(t, modern, (*stand).serveCRI)
	k := dialCRI(t, s, s.path("c.sock"), 3*time.Minute)
	ctx := k.ctx
	layers := testLayers(t)
	archive(t, s.path("image.tar"), image, layers)
	archive(t, s.path("pause.tar"), pause, layers[:1], "-c", "while :; do sleep 1000; done")
	for _, name := range []string{"image.tar", "pause.tar"} {
		s.ctr("image", "import", s.path(name))
		must(t, os.Remove(s.path(name)))
	}
	s.eventually("CRI has the images", func() bool {
		r, err := k.img.ListImages(ctx, &cri.ListImagesRequest{})
		return err == nil && len(r.Images) == 2
	})
	k.eventually("kubelet is told what the images take", func() bool {
		f := k.fsInfo()
		return f.UsedBytes.GetValue() > 1<<20 && f.InodesUsed.GetValue() > 40 // busybox and its links
	})
	k.pod()
	k.userns()
	k.many(50)
	k.collectImages()
	s.nothingLeft()
}

// serveCRI configures CRI: of runc's state there are no others, and statistics
// are a second old.
func (s *stand) serveCRI() {
	s.ns = "k8s.io"
	s.more = fmt.Sprintf(`[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = %q
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
`, s.path("runc"), pause)
	s.edit = func(block string) string {
		const table = "[plugins.\"io.containerd.cri.v1.images\"]\n"
		return strings.Replace(block, table, table+"  stats_collect_period = 1\n", 1)
	}
}

// dialCRI connects to a containerd.
func dialCRI(t *testing.T, s *stand, address string, patience time.Duration) *kubelet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	conn, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &kubelet{s, ctx, cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)}
}

// fsInfo is the filesystem of the layers, as kubelet is told it.
func (k *kubelet) fsInfo() *cri.FilesystemUsage {
	k.t.Helper()
	r, err := k.img.ImageFsInfo(k.ctx, &cri.ImageFsInfoRequest{})
	must(k.t, err)
	if len(r.ImageFilesystems) != 1 || r.ImageFilesystems[0].FsId.GetMountpoint() != k.path("plyfs") {
		k.t.Fatalf("kubelet watches %v, want %s", r.ImageFilesystems, k.path("plyfs"))
	}
	return r.ImageFilesystems[0]
}

// collectImages is kubelet's image garbage collection: it removes images by
// their ids, and looks at what that has freed. It leaves what is pinned, which
// here goes, too.
func (k *kubelet) collectImages() {
	k.t.Helper()
	r, err := k.img.ListImages(k.ctx, &cri.ListImagesRequest{})
	must(k.t, err)
	pinned := 0
	for _, i := range r.Images {
		if i.Pinned {
			pinned++
		}
		_, err := k.img.RemoveImage(k.ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: i.Id}})
		must(k.t, err)
	}
	if len(r.Images) != 2 || pinned != 1 {
		k.t.Errorf("%d images, %d of them pinned; want 2 and 1: %v", len(r.Images), pinned, r.Images)
	}
	k.eventually("kubelet is told that the space is free", func() bool {
		f := k.fsInfo()
		return f.UsedBytes.GetValue() == 0 && f.InodesUsed.GetValue() == 0
	})
}

// sandbox starts a pod and gives its id and configuration.
func (k *kubelet) sandbox(name string, users *cri.UserNamespace) (string, *cri.PodSandboxConfig) {
	k.t.Helper()
	config := k.podConfig(name, users)
	r, err := k.run.RunPodSandbox(k.ctx, &cri.RunPodSandboxRequest{Config: config})
	must(k.t, err)
	return r.PodSandboxId, config
}

func (k *kubelet) podConfig(name string, users *cri.UserNamespace) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
		LogDirectory: k.path("logs-" + name),
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, UsernsOptions: users},
		}},
	}
}

func (k *kubelet) containerConfig(pod *cri.PodSandboxConfig, name, script string) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name}, LogPath: name + ".log",
		Image:   &cri.ImageSpec{Image: image},
		Command: []string{"sh", "-c", script},
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			NamespaceOptions: pod.Linux.SecurityContext.NamespaceOptions,
		}},
	}
}

// container starts one in a pod.
func (k *kubelet) container(pod string, config *cri.PodSandboxConfig, name, script string) string {
	k.t.Helper()
	r, err := k.run.CreateContainer(k.ctx, &cri.CreateContainerRequest{
		PodSandboxId: pod, SandboxConfig: config, Config: k.containerConfig(config, name, script),
	})
	must(k.t, err)
	_, err = k.run.StartContainer(k.ctx, &cri.StartContainerRequest{ContainerId: r.ContainerId})
	must(k.t, err)
	return r.ContainerId
}

func (k *kubelet) exec(id, script string) string {
	k.t.Helper()
	r, err := k.run.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", script}, Timeout: 30})
	must(k.t, err)
	if r.ExitCode != 0 {
		k.t.Errorf("%s: exit code %d: %s", script, r.ExitCode, r.Stderr)
	}
	return string(r.Stdout)
}

func (k *kubelet) remove(pod string) {
	k.t.Helper()
	_, err := k.run.StopPodSandbox(k.ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod})
	must(k.t, err)
	_, err = k.run.RemovePodSandbox(k.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod})
	must(k.t, err)
}

// pod has two containers.
func (k *kubelet) pod() {
	k.t.Helper()
	id, config := k.sandbox("two", nil)
	a := k.container(id, config, "a", "echo said by a; sleep 100000")
	b := k.container(id, config, "b", "sleep 100000")
	k.exec(a, "dd if=/dev/zero of=/big bs=1M count=2 2>/dev/null; rm /d/stays; sync")
	if out := k.exec(b, "cat /d/stays; ls /big 2>/dev/null || echo none"); out != "changed\nnone\n" {
		k.t.Errorf("the other container: %q", out)
	}
	k.eventually("the log is written", func() bool {
		text, _ := os.ReadFile(filepath.Join(config.LogDirectory, "a.log"))
		return strings.Contains(string(text), "said by a")
	})
	k.eventually("the stats tell what was written", func() bool {
		r, err := k.run.ContainerStats(k.ctx, &cri.ContainerStatsRequest{ContainerId: a})
		w := r.GetStats().GetWritableLayer()
		return err == nil && w.GetUsedBytes().GetValue() >= 2<<20 && w.GetFsId().GetMountpoint() == k.path("plyfs")
	})
	both, err := k.run.ListContainerStats(k.ctx, &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{PodSandboxId: id}})
	must(k.t, err)
	if len(both.Stats) != 2 {
		k.t.Errorf("statistics of %d containers, want 2: %v", len(both.Stats), both.Stats)
	}
	host, err := os.Readlink("/proc/self/ns/net")
	must(k.t, err)
	if out := k.exec(b, "ls -l /proc/self/ns/net"); !strings.Contains(out, host) {
		k.t.Errorf("the pod is not in the network of the host, %s: %s", host, out)
	}
	k.remove(id)
}

// userns is a pod with hostUsers: false.
func (k *kubelet) userns() {
	k.t.Helper()
	ids := []*cri.IDMapping{{HostId: 200000, ContainerId: 0, Length: 65536}}
	id, config := k.sandbox("users", &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: ids, Gids: ids})
	c := k.container(id, config, "c", "sleep 100000")
	if out := k.exec(c, "stat -c '%u %g' / /d/owned; echo x >/d/new; stat -c %u /d/new; cat /proc/self/uid_map"); strings.Join(strings.Fields(out), " ") != "0 0 1000 1001 0 0 200000 65536" {
		k.t.Errorf("in a user namespace: %q", out)
	}
	names, err := filepath.Glob(k.path("plyfs/snapshots/*/fs/bin/busybox"))
	must(k.t, err)
	if len(names) != 1 {
		k.t.Errorf("busybox is there %d times: the image was copied", len(names))
	}
	k.remove(id)
}

// many is n pods up and down, eight at a time.
func (k *kubelet) many(n int) {
	k.t.Helper()
	var wg sync.WaitGroup
	room := make(chan bool, 8)
	for i := range n {
		room <- true
		wg.Go(func() {
			defer func() { <-room }()
			id, config := k.sandbox(fmt.Sprintf("p%d", i), nil)
			c := k.container(id, config, "c", "sleep 100000")
			if out := k.exec(c, fmt.Sprintf("echo %d >/d/own; cat /d/own /d/stays", i)); out != fmt.Sprintf("%d\nchanged\n", i) {
				k.t.Errorf("pod %d: %q", i, out)
			}
			k.remove(id)
		})
	}
	wg.Wait()
}
