package dialect

import (
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/layer"
)

const (
	none = layer.XattrPermNone
	priv = layer.XattrPermPrivileged
	user = layer.XattrPermUser
)

func TestClientToDisk(t *testing.T) {
	for _, g := range []struct {
		client string
		mode   layer.XattrPermissions
		disk   string
		err    syscall.Errno
	}{
		{"user.foo", none, "user.foo", 0},
		{"user.overlayfoo", none, "user.overlayfoo", 0},
		{"security.capability", none, "security.capability", 0},
		{"system.posix_acl_access", none, "system.posix_acl_access", 0},
		{"trusted.foo", none, "trusted.foo", 0},
		// Seen on disk after the same calls through kernel overlayfs.
		{"trusted.overlay.foo", none, "trusted.overlay.overlay.foo", 0},
		{"user.overlay.opaque", none, "user.overlay.overlay.opaque", 0},
		{"user.overlay.overlay.foo", none, "user.overlay.overlay.overlay.foo", 0},
		{"user.fuseoverlayfs.opaque", none, "", syscall.EPERM},
		{"user.fuseoverlayfs.override_stat", none, "", syscall.EPERM},
		{"user.plyfs.origin", none, "", syscall.EPERM},
		{"user.plyfs.origin", user, "", syscall.EPERM},
		{"user.containers.override_stat", none, "user.containers.override_stat", 0},
		{"user.containers.override_stat", priv, "user.containers.override_stat", 0},
		{"user.containers.override_stat", user, "", syscall.EPERM},
		{"user.containers.override_security.capability", user, "", syscall.EPERM},
		{"security.fuseoverlayfs.override_stat", none, "security.fuseoverlayfs.override_stat", 0},
		{"security.fuseoverlayfs.override_stat", priv, "", syscall.EPERM},
		{"security.capability", priv, "security.capability", 0},
		{"security.capability", user, "user.containers.override_security.capability", 0},
		{"user.overlay.opaque", user, "user.containers.override_user.overlay.opaque", 0},
		{"trusted.overlay.opaque", user, "user.containers.override_trusted.overlay.opaque", 0},
		{"user.fuseoverlayfs.opaque", user, "user.containers.override_user.fuseoverlayfs.opaque", 0},
		{"user.foo", user, "user.foo", 0},
		{"user.overlay." + strings.Repeat("n", 234), none, "user.overlay.overlay." + strings.Repeat("n", 234), 0},
		{"user.overlay." + strings.Repeat("n", 235), none, "", syscall.EOPNOTSUPP},
		{"security." + strings.Repeat("n", 222), user, "", syscall.EOPNOTSUPP},
	} {
		disk, err := ClientToDisk(g.client, make([]byte, 0, NameMax), g.mode)
		if disk != g.disk || err != g.err {
			t.Errorf("ClientToDisk(%q, %d) = %q, %v, want %q, %v", g.client, g.mode, disk, err, g.disk, g.err)
		}
		if err != 0 {
			continue
		}
		if back, ok := DiskToClient(disk, nil, g.mode); !ok || back != g.client {
			t.Errorf("DiskToClient(%q, %d) = %q, %v, want %q", disk, g.mode, back, ok, g.client)
		}
	}
}

func TestFilterList(t *testing.T) {
	list := func(names ...string) []byte {
		var b []byte
		for _, n := range names {
			b = append(append(b, n...), 0)
		}
		return b
	}
	all := []string{
		"user.overlay.opaque", "user.a", "trusted.overlay.origin", "trusted.overlay.overlay.origin",
		"user.overlay.overlay.overlay.x", "security.capability", "user.fuseoverlayfs.origin", "user.plyfs.origin",
		"user.containers.override_stat", "user.containers.override_security.capability",
		"security.fuseoverlayfs.override_stat", "user.containers.override_bad", "trusted.overlay.overlay",
	}
	for _, g := range []struct {
		mode layer.XattrPermissions
		want []byte
	}{
		{none, list("user.a", "trusted.overlay.origin", "user.overlay.overlay.x", "security.capability",
			"user.containers.override_stat", "user.containers.override_security.capability",
			"security.fuseoverlayfs.override_stat", "user.containers.override_bad")},
		{priv, list("user.a", "trusted.overlay.origin", "user.overlay.overlay.x", "security.capability",
			"user.containers.override_stat", "user.containers.override_security.capability",
			"user.containers.override_bad")},
		{user, list("user.a", "security.capability")},
	} {
		if got := FilterList(list(all...), g.mode); string(got) != string(g.want) {
			t.Errorf("mode %d: %q, want %q", g.mode, got, g.want)
		}
	}
	if got := FilterList([]byte("user.a\x00\x00user.cut"), none); string(got) != "user.a\x00" {
		t.Errorf("a broken list gives %q", got)
	}
	if got := FilterList(nil, none); len(got) != 0 {
		t.Errorf("an empty list gives %q", got)
	}
}

// nameGen makes names around everything that has a meaning.
var nameGen = rapid.Custom(func(t *rapid.T) string {
	part := rapid.SampledFrom([]string{
		"", "user.", "trusted.", "security.", "overlay.", "fuseoverlayfs.", "containers.", "override_", "plyfs.",
		"override_stat", "capability", "opaque", "system.posix_acl_access", strings.Repeat("n", 120),
	})
	return strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), "")
})

func TestNamesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]layer.XattrPermissions{none, priv, user}).Draw(t, "mode")
		name := nameGen.Draw(t, "name")
		if name == "" || len(name) > NameMax {
			t.Skip()
		}
		if disk, err := ClientToDisk(name, nil, mode); err == 0 {
			if back, ok := DiskToClient(disk, nil, mode); !ok || back != name {
				t.Fatalf("%q is kept as %q and read as %q, %v", name, disk, back, ok)
			}
		}
		// What a client sees it can reach, under one name only.
		if client, ok := DiskToClient(name, nil, mode); ok {
			disk, err := ClientToDisk(client, nil, mode)
			if err == 0 && disk != name || err != 0 && err != syscall.EOPNOTSUPP {
				t.Fatalf("%q is seen as %q and looked for as %q, %v", name, client, disk, err)
			}
			if got := FilterList([]byte(name+"\x00"), mode); string(got) != client+"\x00" {
				t.Fatalf("%q is listed as %q, want %q", name, got, client)
			}
		} else if got := FilterList([]byte(name+"\x00"), mode); len(got) != 0 {
			t.Fatalf("%q is hidden and listed as %q", name, got)
		}
	})
}
