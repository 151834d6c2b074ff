package podman

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// store is a container store of one user with its own configuration.
type store struct {
	t    *testing.T
	user *harness.User
	dir  string
	env  []string
}

// storageConf names the binary under test as the mount program. Rootless
// podman takes its own key for the path of the store.
const storageConf = `[storage]
driver = "overlay"
graphroot = "%[1]s/graph"
rootless_storage_path = "%[1]s/graph"
runroot = "%[1]s/runroot"
[storage.options.overlay]
mount_program = "%[2]s"
`

// containersConf keeps podman away from what a test machine may lack: systemd,
// a network of its own, the right to raise limits. crun refuses cgroup v1 beside a
// cgroup v2 with controllers, runc doesn't mind.
const containersConf = `[containers]
netns = "host"
cgroupns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
lock_type = "file"
tmp_dir = "%[1]s/t"
volume_path = "%[1]s/volumes"
`

// newStore makes a store with the image localhost/base in it.
func newStore(t *testing.T, u *harness.User) *store {
	t.Helper()
	for _, tool := range []string{"podman", "buildah", "runc", "busybox"} {
		require.Tool(t, tool)
	}
	s := &store{t: t, user: u, dir: u.Dir(t)}
	s.write("storage.conf", fmt.Sprintf(storageConf, s.dir, harness.DropIn(t)))
	s.write("containers.conf", fmt.Sprintf(containersConf, s.dir))
	s.write("policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	s.write("registries.conf", "unqualified-search-registries = []\n")
	s.write("auth.json", "{}")
	s.env = []string{
		"CONTAINERS_STORAGE_CONF=" + s.dir + "/storage.conf", "CONTAINERS_CONF=" + s.dir + "/containers.conf",
		"CONTAINERS_REGISTRIES_CONF=" + s.dir + "/registries.conf", "REGISTRY_AUTH_FILE=" + s.dir + "/auth.json",
		"D=" + s.dir, "BUILDAH_ISOLATION=oci", "BUILDAH_RUNTIME=runc",
	}
	t.Cleanup(s.close)
	s.write("base.tar", baseTar(t))
	s.run(`podman import -q $D/base.tar localhost/base:latest`)
	return s
}

// close empties the store. An unprivileged podman leaves a process that holds
// its namespaces; migrate ends it.
func (s *store) close() {
	s.run(`podman rm -af -t 0 >/dev/null; podman rmi -af >/dev/null; buildah rm -a >/dev/null
		if [ "$(id -u)" != 0 ]; then podman system migrate; else umount -q $D/graph/overlay || true; fi`)
}

// run runs a shell script with the store's configuration.
func (s *store) run(script string) string {
	s.t.Helper()
	return s.user.Run(s.t, script, s.env...)
}

// write writes a file that the user can read.
func (s *store) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// baseTar is a root of busybox and little else.
func baseTar(t *testing.T) string {
	t.Helper()
	busybox, err := os.ReadFile(require.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var b layer
	for _, dir := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "run", "data"} {
		b.add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	b.add(tar.Header{Name: "bin/busybox", Mode: 0o755}, busybox)
	for _, applet := range strings.Fields("sh ls cat rm mkdir echo touch ln mv cp grep sleep true test stat wc seq chown chmod find sort id readlink dd cmp rmdir mkfifo head md5sum") {
		b.add(tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	b.add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"))
	b.add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nuser:x:1000:\n"))
	b.add(tar.Header{Name: "data/one", Mode: 0o644}, []byte("base\n"))
	b.add(tar.Header{Name: "data/two", Typeflag: tar.TypeLink, Linkname: "data/one"}, nil)
	return string(b.bytes(t))
}

// everyone runs a test as root and as an unprivileged user.
func everyone(t *testing.T, test func(t *testing.T, s *store)) {
	t.Helper()
	t.Run("root", func(t *testing.T) { test(t, newStore(t, harness.Root(t))) })
	t.Run("rootless", func(t *testing.T) {
		harness.SubIDs.Require(t)
		test(t, newStore(t, harness.Unprivileged(t)))
	})
}
