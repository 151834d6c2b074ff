package containerd

import (
	"archive/tar"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const deploy = "../../plugin/deploy"

// pod is what kubelet would make of the pods of a DaemonSet.
type pod struct {
	HostPID        bool
	InitContainers []podContainer
	Containers     []podContainer
	Volumes        []struct {
		Name     string
		HostPath *struct{ Path string }
	}
}

type podContainer struct {
	Name, Image     string
	Command, Args   []string
	SecurityContext struct{ Privileged bool }
	VolumeMounts    []struct {
		Name, MountPath string
		ReadOnly        bool
	}
	ReadinessProbe *struct{ Exec struct{ Command []string } }
}

// readDaemonSet has the manifest read as an API server does, and gives its pod.
func readDaemonSet(t *testing.T) pod {
	t.Helper()
	file, err := filepath.Abs(deploy + "/kubernetes/daemonset.yaml")
	must(t, err)
	cmd := exec.Command("go", "run", ".", file)
	cmd.Dir = "../peers/manifest"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			t.Fatalf("the manifest: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var set struct {
		Spec struct{ Template struct{ Spec pod } }
	}
	must(t, json.Unmarshal(out, &set))
	return set.Spec.Template.Spec
}

// deployImage is the image of the Dockerfile: what it copies, on busybox.
func deployImage(t *testing.T) [][]byte {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	program, err := os.ReadFile(busybox)
	must(t, err)
	applets, err := exec.Command(busybox, "--list").Output()
	must(t, err)
	base := newLayer(t).dir("bin", 0o755).dir("dev", 0o755).dir("proc", 0o555).dir("sys", 0o555).dir("etc", 0o755).
		file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n").file("etc/group", "root:x:0:\n").
		add(tar.Header{Name: "bin/busybox", Mode: 0o755}, string(program))
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			base.add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, "")
		}
	}
	text, err := os.ReadFile(deploy + "/Dockerfile")
	must(t, err)
	copied, dirs := newLayer(t), map[string]bool{".": true}
	var mkdir func(dir string)
	mkdir = func(dir string) {
		if !dirs[dir] {
			dirs[dir] = true
			mkdir(path.Dir(dir))
			copied.dir(dir, 0o755)
		}
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "COPY" {
			continue
		}
		for _, from := range f[1 : len(f)-1] {
			file := filepath.Join("../..", from)
			if name, ok := strings.CutPrefix(from, "bin/"); ok { // made by `make build`
				file = harness.Build(t, "./cmd/"+name)
			}
			info, err := os.Stat(file)
			must(t, err)
			data, err := os.ReadFile(file)
			must(t, err)
			to := strings.TrimPrefix(f[len(f)-1], "/")
			if strings.HasSuffix(to, "/") {
				to += path.Base(from)
			}
			mkdir(path.Dir(to))
			copied.add(tar.Header{Name: to, Mode: int64(info.Mode().Perm())}, string(data))
		}
	}
	return [][]byte{base.bytes(), copied.bytes()}
}

// config is a container of the pod for CRI.
func (p pod) config(t *testing.T, c podContainer) *cri.ContainerConfig {
	t.Helper()
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: c.Name}, LogPath: c.Name + ".log",
		Image: &cri.ImageSpec{Image: c.Image}, Command: c.Command, Args: c.Args,
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			Privileged: c.SecurityContext.Privileged, NamespaceOptions: p.namespaces(),
		}},
	}
	for _, m := range c.VolumeMounts {
		for _, v := range p.Volumes {
			if v.Name == m.Name && v.HostPath != nil {
				config.Mounts = append(config.Mounts, &cri.Mount{ContainerPath: m.MountPath, HostPath: v.HostPath.Path, Readonly: m.ReadOnly})
			}
		}
	}
	if len(config.Mounts) != len(c.VolumeMounts) {
		t.Errorf("container %s mounts what the pod has no host path for", c.Name)
	}
	return config
}

// namespaces are those of the pod. A network of its own is CNI's to make, and
// there is none here.
func (p pod) namespaces() *cri.NamespaceOption {
	n := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}
	if p.HostPID {
		n.Pid = cri.NamespaceMode_NODE
	}
	return n
}
