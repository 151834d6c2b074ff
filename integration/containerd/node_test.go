package containerd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// node is a machine of a cluster: systemd, and containerd as a service of it.
type node struct {
	*stand
	pid string // of process 1
}

// nodeConfig is containerd's configuration as an administrator has it: it
// imports, as the DaemonSet asks for.
const nodeConfig = `version = 3
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
`

// bootNode boots one and waits for its containerd.
func bootNode(t *testing.T) *node {
	t.Helper()
	u := needs(t)
	require.Tool(t, "systemctl")
	require.Tool(t, "pgrep")
	n := &node{stand: &stand{t: t, user: u, release: two, bin: modern.dir(t), dir: u.Dir(t), ns: "k8s.io"}}
	must(t, os.MkdirAll(n.path("local/bin"), 0o755))
	must(t, os.MkdirAll(n.path("etc/containerd"), 0o755))
	must(t, os.MkdirAll(n.path("etc/systemd/system/multi-user.target.wants"), 0o755))
	must(t, os.WriteFile(n.path("etc/containerd/config.toml"), fmt.Appendf(nil, nodeConfig, pause), 0o644))
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} {
		text, err := os.ReadFile(filepath.Join(n.bin, program))
		must(t, err)
		must(t, os.WriteFile(n.path("local/bin/"+program), text, 0o755))
	}
	// containerd's own unit.
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/containerd/containerd/v2")
	list.Dir = "../peers"
	dir, err := list.Output()
	must(t, err)
	unit, err := os.ReadFile(strings.TrimSpace(string(dir)) + "/containerd.service")
	must(t, err)
	must(t, os.WriteFile(n.path("etc/systemd/system/containerd.service"), unit, 0o644))
	must(t, os.Symlink("../containerd.service", n.path("etc/systemd/system/multi-user.target.wants/containerd.service")))

	script, err := filepath.Abs("node.sh")
	must(t, err)
	p := n.start("node", u.Command(t, "bash", script, n.dir, fmt.Sprintf("plyfs-node-%d", os.Getpid())))
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("%s\n%s", text, n.try("journalctl", "--no-pager", "--lines=25"))
		}
		_ = exec.Command("kill", "-9", n.pid).Run() // and with it all that is in its namespaces
		_ = p.cmd.Wait()
		if !p.cmd.ProcessState.Success() {
			text, _ := os.ReadFile(p.log)
			t.Errorf("the node: %v\n%s", p.cmd.ProcessState, text)
		}
	})
	n.eventually("systemd is process 1 of the node", func() bool {
		n.pid = child(child(fmt.Sprint(p.cmd.Process.Pid)))
		comm, _ := os.ReadFile("/proc/" + n.pid + "/comm")
		return n.pid != "" && string(comm) == "systemd\n"
	})
	n.eventually("containerd serves", func() bool { _, err := n.tryOn("ctr", "version"); return err == nil })
	return n
}

// child is the child of a process.
func child(pid string) string {
	out, _ := exec.Command("pgrep", "--parent", pid).Output()
	return strings.TrimSpace(string(out))
}

// tryOn runs a command on the node.
func (n *node) tryOn(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", n.pid, "--mount", "--uts", "--ipc", "--pid", "--wd=/", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "CONTAINERD_NAMESPACE=" + n.ns}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, lastLines(errs.String(), 5))
	}
	return string(out), err
}

func (n *node) try(args ...string) string {
	out, _ := n.tryOn(args...)
	return out
}

func (n *node) on(args ...string) string {
	n.t.Helper()
	out, err := n.tryOn(args...)
	if err != nil {
		n.t.Fatalf("on the node: %v\n%s", err, out)
	}
	return out
}
