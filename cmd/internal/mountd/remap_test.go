package mountd_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"golang.org/x/sys/unix"
)

const (
	uidLabel = "containerd.io/snapshot/uidmapping"
	gidLabel = "containerd.io/snapshot/gidmapping"
)

// TestRemap: a container whose root is another id on the host sees its own
// ids, writes its own ids, and nothing is changed on disk for it.
func TestRemap(t *testing.T) {
	if !inBox(t) {
		return
	}
	require.Tool(t, "setfacl")
	require.Tool(t, "setcap")
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) {
		write(t, dir+"/root", "")
		write(t, dir+"/daemon", "")
		must(t, os.Chown(dir+"/daemon", 1, 1))
		run(t, "setfacl", "-m", "u:33:r", dir+"/root")
		run(t, "cp", "/bin/true", dir+"/program")
		run(t, "setcap", "cap_net_raw=ep", dir+"/program")
	})
	for _, parent := range []string{"base", ""} {
		key := "remapped " + parent
		m := w.prepare(key, parent, map[string]string{uidLabel: "0:100000:65536", gidLabel: "0:200000:65536"})
		upper := w.upper(key)
		w.with(m, func(dir string) {
			owner := func(name string, uid, gid uint32) {
				t.Helper()
				var st unix.Stat_t
				must(t, unix.Lstat(name, &st))
				if st.Uid != uid || st.Gid != gid {
					t.Errorf("%s is owned by %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
				}
			}
			owner(dir, 100000, 200000)
			inside(t, dir, "echo new >new; chown 7:8 new; mkdir d")
			owner(dir+"/new", 100007, 200008)
			owner(upper+"/new", 7, 8)
			owner(upper+"/d", 0, 0)
			if parent == "" {
				return
			}
			owner(dir+"/daemon", 100001, 200001)
			if acl := run(t, "getfacl", "-n", "--omit-header", dir+"/root"); !contains(acl, "user:100033:r--") {
				t.Errorf("the ACL on the host: %s", acl)
			}
			if acl := inside(t, dir, "getfacl -n --omit-header root"); !contains(acl, "user:33:r--") {
				t.Errorf("the ACL in the container: %s", acl)
			}
			inside(t, dir, "setfacl -m u:34:rw new; chmod u+x new; setcap cap_net_admin=ep new")
			if acl := run(t, "getfacl", "-n", "--omit-header", upper+"/new"); !contains(acl, "user:34:rw-") {
				t.Errorf("the ACL in the layer: %s", acl)
			}
			v := make([]byte, 64)
			n, err := unix.Lgetxattr(upper+"/new", "security.capability", v)
			must(t, err)
			if n != 20 { // version 2 has no root id
				t.Errorf("security.capability in the layer has %d bytes: %x", n, v[:n])
			}
			if caps := inside(t, dir, "getcap program new"); !contains(caps, "cap_net_raw=ep") || !contains(caps, "cap_net_admin=ep") {
				t.Errorf("capabilities in the container: %s", caps)
			}
			if !gone(upper + "/daemon") {
				t.Error("a file was copied up for its owner")
			}
		})
		must(t, w.Remove(ctx, key))
	}
	for _, bad := range []map[string]string{
		{uidLabel: "0:1:2"},
		{uidLabel: "0:1:2", gidLabel: "0:1"},
		{uidLabel: "0:1:2,", gidLabel: "0:1:2"},
		{uidLabel: "0:4294967295:2", gidLabel: "0:1:2"},
	} {
		if _, err := w.Prepare(ctx, "bad", "base", snapshots.WithLabels(bad)); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// inside runs a script in dir as root of a user namespace whose ids are the
// container's.
func inside(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 200000, Size: 65536}},
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
