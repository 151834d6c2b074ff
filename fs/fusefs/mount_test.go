package fusefs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// requireRoot wants what mount(2) needs.
func requireRoot(t *testing.T) {
	t.Helper()
	require.Root(t)
	require.FUSE(t)
}

// openFDs are this process's descriptors.
func openFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// mounted is a mount with a fake tree.
type mounted struct {
	dir   string
	tree  *fakeTree
	s     *Server
	ended chan error
}

func mountFake(t *testing.T, o *layer.Options) *mounted {
	t.Helper()
	requireRoot(t)
	m := &mounted{dir: t.TempDir(), tree: newFakeTree(), ended: make(chan error, 1)}
	fd, err := Mount(m.dir, o, false)
	if err != nil {
		t.Fatal(err)
	}
	m.s = NewServer(fd, m.tree, Config{Options: o})
	go func() { m.ended <- m.s.Serve() }()
	if err := m.s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mounted) unmount(t *testing.T) {
	t.Helper()
	if err := Unmount(m.dir); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-m.ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve did not end")
	}
}

// sh runs a script in the mount, by another process.
func (m *mounted) sh(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = m.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// mountLine is the line of a mount point in mountinfo.
func mountLine(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == dir {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func TestMount(t *testing.T) {
	requireRoot(t)
	_ = exec.Command("true").Run() // what the runtime opens for processes, it opens now
	before := openFDs(t)
	for range 2 {
		m := mountFake(t, &layer.Options{})
		m.sh(t, helperScript)
		m.sh(t, `stat -c '%n %W' file; stat -f . >/dev/null; ln file hard; mv hard moved; rm moved; ln -s x y; test "$(readlink y)" = x
			python3 - <<'E'
import os
assert os.getxattr("file", "user.key") == b"value"
os.setxattr("file", "user.two", b"2")
assert sorted(os.listxattr("file")) == ["user.key", "user.two"]
f = os.open("big", os.O_RDWR | os.O_CREAT)
os.write(f, b"x" * 3000000); os.fsync(f)
os.posix_fallocate(f, 0, 10)
os.truncate("big", 5)
assert os.pread(f, 100, 0) == b"xxxxx"
t = os.open(".", os.O_TMPFILE | os.O_RDWR); os.write(t, b"q"); os.close(t)
E`)
		if c := m.s.Counts(); c["OPEN"] > 1 || c["OPENDIR"] > 1 || c["FLUSH"] > 1 || c["RELEASE"] > 1 || c["LOOKUP"] == 0 || c["STATX"] == 0 || c["TMPFILE"] != 1 {
			t.Errorf("messages: %v", c)
		}
		m.unmount(t)
		if l := mountLine(t, m.dir); l != "" {
			t.Errorf("still mounted: %s", l)
		}
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestMountOptions(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		o             layer.Options
		with, without string
	}{
		{layer.Options{}, "rw,relatime plyfs fuse.plyfs allow_other default_permissions", "nodev nosuid noexec"},
		{
			layer.Options{NoDev: true, NoSuid: true, NoExec: true, NoAtime: true, ReadOnly: true, FSName: "my,name"},
			"nodev nosuid noexec noatime ro my,name", "relatime",
		},
	} {
		m := mountFake(t, &c.o)
		line := mountLine(t, m.dir)
		for _, w := range strings.Fields(c.with) {
			if !strings.Contains(line, w) {
				t.Errorf("%q is not in %q", w, line)
			}
		}
		for _, w := range strings.Fields(c.without) {
			if strings.Contains(line, w) {
				t.Errorf("%q is in %q", w, line)
			}
		}
		m.unmount(t)
	}
}

// runHelper runs the test binary as a mounter with attr.
func runHelper(t *testing.T, kind string, attr *syscall.SysProcAttr, owner int) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "fusefs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	bin, dir := filepath.Join(tmp, "helper"), filepath.Join(tmp, "mnt")
	if err := errors.Join(os.Chmod(tmp, 0o755), os.WriteFile(bin, self, 0o755), os.Mkdir(dir, 0o755), os.Chown(dir, owner, owner)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), helperEnv+"="+kind+":"+dir)
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if l := mountLine(t, dir); l != "" {
		t.Errorf("still mounted: %s", l)
		_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return string(out)
}

// testUser is the uid of the unprivileged user of the tests.
func testUser(t *testing.T) int {
	t.Helper()
	requireRoot(t)
	uid, err := strconv.Atoi(require.User(t).Uid)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func TestMountUser(t *testing.T) {
	uid := testUser(t)
	if _, err := findHelper(); err != nil {
		require.Missing(t, "%v", err)
	}
	out := runHelper(t, "user", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), NoSetGroups: true}}, uid)
	for _, w := range []string{"nodev", "nosuid", "fuse.plyfs", "default_permissions", "user_id=" + strconv.Itoa(uid), `a,b\134c`} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in %q", w, out)
		}
	}
}

func TestMountUserNS(t *testing.T) {
	uid := testUser(t)
	out := runHelper(t, "ns", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
	}, uid)
	for _, w := range []string{"nodev", "allow_other", "fuse.plyfs", "default_permissions"} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in %q", w, out)
		}
	}
	if strings.Contains(out, "nosuid") {
		t.Errorf("suid was asked for by name: %q", out)
	}
}

func TestMountErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Symlink("/proc", link)); err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error, want ...string) {
		t.Helper()
		if err == nil {
			t.Fatalf("%s: no error", what)
		}
		for _, w := range append(want, "\"") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", what, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", what, err)
		}
	}
	o := &layer.Options{}
	_, err := Mount(filepath.Join(dir, "absent"), o, false)
	check("absent", err, "absent", "create it")
	_, err = Mount(file, o, false)
	check("file", err, "not a directory")
	check("no mount", Unmount(dir), "not a mount point")
	check("unmount of nothing", Unmount(filepath.Join(dir, "absent")), "does not exist")
	check("unmount through a link", Unmount(link), link)
	check("helper", helperError("mount on", dir, "/bin/fusermount3", errors.New("exit status 1"),
		"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n"), "add the line user_allow_other")
	check("helper", helperError("mount on", dir, "/bin/fusermount3", errors.New("exit status 1"), ""), "exit status 1")

	names, dirs := helperNames, helperDirs
	helperNames, helperDirs = []string{"no-such-fusermount"}, nil
	_, err = mountHelper(dir, o)
	check("no helper", err, "install the package fuse3")
	check("no helper", unmountHelper(dir), "install the package fuse3")
	helperNames, helperDirs = names, dirs

	// A helper that succeeds and sends nothing.
	helperNames = []string{"true"}
	_, err = mountHelper(dir, o)
	check("silent helper", err, "sent no descriptor")
	helperNames = names

	devFuse = filepath.Join(dir, "nodev")
	_, err = openDevice()
	if err == nil || !strings.Contains(err.Error(), "modprobe fuse") {
		t.Errorf("no device: %v", err)
	}
	devFuse = "/dev/fuse"
}
