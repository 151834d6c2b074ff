package containerd

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const conf = "/etc/containerd/conf.d/plyfs.toml"

// TestDaemonSet does with the manifest of the DaemonSet what kubelet would, on
// a node that has systemd and containerd and nothing of ours.
func TestDaemonSet(t *testing.T) {
	p := readDaemonSet(t)
	n := bootNode(t)
	archive(t, n.path("pause.tar"), pause, testLayers(t)[:1], "-c", "while :; do sleep 1000; done")
	archive(t, n.path("deploy.tar"), "docker.io/"+p.Containers[0].Image, deployImage(t))
	for _, name := range []string{"pause.tar", "deploy.tar"} {
		n.on("ctr", "image", "import", "/"+name)
		must(t, os.Remove(n.path(name)))
	}
	k := dialCRI(t, n.stand, "/proc/"+n.pid+"/root/run/containerd/containerd.sock", 5*time.Minute)
	id, config := k.podOf(p)
	k.init(p, id, config)
	n.configured()
	check := k.check(p, id, config)

	// Again, as after a reboot or an update: nothing changes.
	was := n.on("stat", "-c", "%i %y", conf) + n.on("systemctl", "show", "--property=MainPID", "containerd")
	k.init(p, id, config)
	if is := n.on("stat", "-c", "%i %y", conf) + n.on("systemctl", "show", "--property=MainPID", "containerd"); is != was {
		t.Errorf("the second installation changed what was in force:\n%s%s", was, is)
	}
	n.configured()
	n.restarts(k, check)
	n.watched(k, check)
	n.kept(k, check)

	if _, err := n.tryOn("/usr/local/share/plyfs/uninstall.sh"); err == nil || !strings.Contains(err.Error(), "containers use the snapshotter") {
		t.Errorf("uninstall while a container runs: %v", err)
	}
	k.exec(check, "true")
	k.remove(id)
	n.uninstalled(k, p)
}

// podOf starts the sandbox.
func (k *kubelet) podOf(p pod) (string, *cri.PodSandboxConfig) {
	k.t.Helper()
	config := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "plyfs-snapshotter", Namespace: "kube-system", Uid: "1"},
		LogDirectory: "/var/log/pods",
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			Privileged: true, NamespaceOptions: p.namespaces(),
		}},
	}
	r, err := k.run.RunPodSandbox(k.ctx, &cri.RunPodSandboxRequest{Config: config})
	must(k.t, err)
	return r.PodSandboxId, config
}

// begin makes and starts a container, when containerd is there for it.
func (k *kubelet) begin(id string, config *cri.PodSandboxConfig, c *cri.ContainerConfig) string {
	k.t.Helper()
	made := ""
	k.eventually("container "+c.Metadata.Name+" starts", func() bool {
		r, err := k.run.CreateContainer(k.ctx, &cri.CreateContainerRequest{PodSandboxId: id, SandboxConfig: config, Config: c})
		if err != nil {
			k.t.Log(err)
			return false
		}
		made = r.ContainerId
		_, err = k.run.StartContainer(k.ctx, &cri.StartContainerRequest{ContainerId: made})
		must(k.t, err)
		return true
	})
	return made
}

// init runs the init containers to their ends. The first one restarts
// containerd, under itself.
func (k *kubelet) init(p pod, id string, config *cri.PodSandboxConfig) {
	k.t.Helper()
	for _, c := range p.InitContainers {
		made := k.begin(id, config, p.config(k.t, c))
		var s *cri.ContainerStatus
		k.eventually("init container "+c.Name+" has ended", func() bool {
			r, err := k.run.ContainerStatus(k.ctx, &cri.ContainerStatusRequest{ContainerId: made})
			s = r.GetStatus()
			return err == nil && s.State == cri.ContainerState_CONTAINER_EXITED
		})
		if s.ExitCode != 0 {
			text, _ := os.ReadFile(k.path("var/log/pods/" + c.Name + ".log"))
			k.t.Fatalf("init container %s: exit code %d\n%s", c.Name, s.ExitCode, text)
		}
		k.eventually("it is removed", func() bool {
			_, err := k.run.RemoveContainer(k.ctx, &cri.RemoveContainerRequest{ContainerId: made})
			return err == nil
		})
	}
}

// check starts the container that stays, and waits until it is ready. It is on
// our snapshotter by then.
func (k *kubelet) check(p pod, id string, config *cri.PodSandboxConfig) string {
	k.t.Helper()
	c := p.Containers[0]
	made := k.begin(id, config, p.config(k.t, c))
	r, err := k.run.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: made, Cmd: c.ReadinessProbe.Exec.Command, Timeout: 15})
	must(k.t, err)
	if r.ExitCode != 0 || !strings.Contains(string(r.Stdout), "containerd calls /run/plyfs/snapshotter.sock") {
		k.t.Errorf("readiness: exit code %d\n%s%s", r.ExitCode, r.Stdout, r.Stderr)
	}
	if out := k.exec(made, "busybox stat -f -c %t /"); out != "65735546\n" {
		k.t.Errorf("the container's root is no FUSE: %q", out)
	}
	return made
}

// configured compares what was written with what the program says.
func (n *node) configured() {
	n.t.Helper()
	have, want := n.on("cat", conf), n.on("containerd-plyfs-grpc", "config", "containerd")
	if have != want || !strings.Contains(have, "# For containerd 2.4.2") {
		n.t.Errorf("%s has\n%s\nand the program prints\n%s", conf, have, want)
	}
	for _, unit := range []string{
		"plyfs-snapshotter.socket", "plyfs-snapshotter.service", "containerd.service",
		"plyfs-snapshotter-keeper.socket", "plyfs-snapshotter-keeper.service",
	} {
		n.on("systemctl", "is-active", unit)
		n.on("systemctl", "is-enabled", unit)
	}
}

// restarts: no restart of a service disturbs a container.
func (n *node) restarts(k *kubelet, id string) {
	n.t.Helper()
	k.exec(id, "echo kept >/kept")
	for _, units := range [][]string{{"plyfs-snapshotter.service"}, {"plyfs-snapshotter.socket", "plyfs-snapshotter.service"}, {"containerd"}} {
		n.on(append([]string{"systemctl", "restart"}, units...)...)
		n.eventually("the container goes on", func() bool {
			r, err := k.run.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"cat", "/kept"}, Timeout: 15})
			return err == nil && string(r.Stdout) == "kept\n"
		})
		n.on("containerd-plyfs-grpc", "doctor")
	}
	// A call starts a daemon that was stopped: systemd has kept its socket.
	n.on("systemctl", "stop", "plyfs-snapshotter.service")
	n.on("containerd-plyfs-grpc", "doctor")
	n.on("systemctl", "is-active", "plyfs-snapshotter.service")
}

// watched: systemd ends a daemon that hangs, and starts another one.
func (n *node) watched(k *kubelet, id string) {
	n.t.Helper()
	pid := func() string {
		return strings.TrimSpace(n.try("systemctl", "show", "--property=MainPID", "--value", "plyfs-snapshotter.service"))
	}
	n.on("sh", "-euc", `dir=/run/systemd/system/plyfs-snapshotter.service.d; mkdir -p $dir; printf '[Service]\nWatchdogSec=1\nLimitCORE=0\n' >$dir/soon.conf`)
	n.on("systemctl", "daemon-reload")
	n.on("systemctl", "restart", "plyfs-snapshotter.service")
	was := pid()
	n.on("kill", "-STOP", was)
	n.eventually("another daemon runs", func() bool {
		is := pid()
		_, err := n.tryOn("containerd-plyfs-grpc", "doctor")
		return is != "0" && is != was && err == nil
	})
	if out := k.exec(id, "cat /kept"); out != "kept\n" {
		n.t.Errorf("the container reads %q", out)
	}
	if log := n.on("journalctl", "--no-pager", "--unit=plyfs-snapshotter.service"); !strings.Contains(log, "Watchdog timeout") {
		n.t.Error("systemd says nothing of a watchdog")
	}
}

// kept: neither the death of a server nor that of its keeper disturbs a container. What
// a keeper knows systemd gives to the next.
func (n *node) kept(k *kubelet, id string) {
	n.t.Helper()
	of := func(verb string) string {
		return strings.TrimSpace(n.try("pgrep", "--full", "^containerd-plyfs-grpc "+verb+"$"))
	}
	replaced := func(verb string) {
		n.t.Helper()
		was := of(verb)
		if strings.Count(was, "\n") > 0 || was == "" {
			n.t.Fatalf("%s: processes %q", verb, was)
		}
		n.on("kill", "-9", was)
		n.eventually("another process does "+verb, func() bool {
			is := of(verb)
			return is != "" && is != was && !strings.Contains(is, "\n")
		})
		if out := k.exec(id, "cat /kept; echo x >/new; rm /new"); out != "kept\n" {
			n.t.Errorf("the container reads %q after the end of %s", out, verb)
		}
	}
	replaced("serve-mounts")
	replaced("keep-mounts")
	replaced("serve-mounts") // which isn't the new keeper's child
	replaced("serve-mounts")
	server := of("serve-mounts")
	n.on("systemctl", "restart", "plyfs-snapshotter-keeper.service")
	if is := of("serve-mounts"); is != server {
		n.t.Errorf("the server is %q instead of %q", is, server)
	}
	replaced("serve-mounts")
	n.on("containerd-plyfs-grpc", "upgrade")
	if out := k.exec(id, "cat /kept"); out != "kept\n" {
		n.t.Errorf("the container reads %q after an upgrade", out)
	}
}

// uninstalled takes everything away, and runs a container without us.
func (n *node) uninstalled(k *kubelet, p pod) {
	n.t.Helper()
	n.eventually("no union is mounted", func() bool { return n.try("ls", "/run/plyfs/snapshotter/m") == "" })
	out := n.on("/usr/local/share/plyfs/uninstall.sh")
	if !strings.Contains(out, "the layers are left in /var/lib/plyfs/snapshotter") {
		n.t.Errorf("uninstall says %q", out)
	}
	left := n.on("sh", "-c", "cd /; find etc/containerd etc/systemd usr/local -name '*plyfs*'; pgrep -a plyfs || true")
	if left != "" {
		n.t.Errorf("uninstall left\n%s", left)
	}
	ctx, cancel := context.WithTimeout(k.ctx, time.Minute)
	defer cancel()
	var id string
	var config *cri.PodSandboxConfig
	n.eventually("containerd is back", func() bool { _, err := k.run.Version(ctx, &cri.VersionRequest{}); return err == nil })
	id, config = k.podOf(p)
	c := k.begin(id, config, &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "after"}, LogPath: "after.log", Image: &cri.ImageSpec{Image: p.Containers[0].Image},
		Command: []string{"sleep", "1000"}, Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: p.namespaces()}},
	})
	k.exec(c, "true")
	k.remove(id)
}
