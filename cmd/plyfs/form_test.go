package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

func TestCallingForm(t *testing.T) {
	for _, tt := range []struct {
		argv string
		form form
		args string
	}{
		{"plyfs", formVerb, ""},
		{"plyfs mount -o lowerdir=a m", formVerb, "mount -o lowerdir=a m"},
		{"/usr/local/bin/plyfs --version", formVerb, "--version"},
		{"plyfs mont x", formVerb, "mont x"},
		{"/usr/bin/fuse-overlayfs -o lowerdir=a m", formDropIn, "-o lowerdir=a m"},
		{"fuse-overlayfs --version", formDropIn, "--version"},
		// containers/storage with mount_program = plyfs itself
		{"plyfs -o lowerdir=a m", formDropIn, "-o lowerdir=a m"},
		{"plyfs -olowerdir=a m", formDropIn, "-olowerdir=a m"},
		// mount(8)
		{"/sbin/mount.fuse3.plyfs overlay m -o rw,lowerdir=a", formHelper, "overlay m -o rw,lowerdir=a"},
		{"/sbin/mount.fuse.plyfs overlay m -o rw,lowerdir=a", formHelper, "overlay m -o rw,lowerdir=a"},
		// containerd, by way of libfuse's mount.fuse3
		{"plyfs overlay m -o lowerdir=a,dev,suid", formHelper, "overlay m -o lowerdir=a,dev,suid"},
		{"plyfs m -o lowerdir=a", formHelper, "m -o lowerdir=a"},
	} {
		f, args := callingForm(strings.Fields(tt.argv))
		if f != tt.form || !reflect.DeepEqual(args, append([]string{}, strings.Fields(tt.args)...)) {
			t.Errorf("%s: form %d, %q; want %d, %q", tt.argv, f, args, tt.form, tt.args)
		}
	}
	if f, _ := callingForm(nil); f != formVerb {
		t.Error("no argv at all")
	}
}

// TestLikeFuseOverlayfs: what storage.conf has for the kernel driver doesn't
// change what is written.
func TestLikeFuseOverlayfs(t *testing.T) {
	o, _, err := layer.Parse([]string{"lowerdir=a,metacopy=on,redirect_dir=on"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if w := likeFuseOverlayfs(o); len(w) != 2 {
		t.Errorf("warnings %q", w)
	}
	if o.Metacopy || o.Redirect != layer.RedirectDefault || o.FSName != "fuse-overlayfs" || !o.Suid || !o.NoMarker {
		t.Errorf("%+v", o)
	}
}

func TestParseMounts(t *testing.T) {
	table := parseMounts(`22 27 0:21 / /proc rw,relatime - proc proc rw
42 27 0:39 / /mnt/with\040blank rw,relatime shared:7 master:2 - fuse.plyfs plyfs rw,user_id=0
43 42 0:40 / /mnt/with\040blank ro - fuse.plyfs overlay ro
44 27 0:41 / /mnt/back\134slash ro - ext4 /dev/x ro
torn line
x y 0:1 / /nowhere rw - a b c
`)
	if len(table) != 4 {
		t.Fatalf("%+v", table)
	}
	m, ok := table.on("/mnt/with blank")
	if !ok || m.id != 43 || m.dev != "0:40" || m.fsType != fsType {
		t.Errorf("the mount on top: %+v", m)
	}
	if m, ok := table.on(`/mnt/back\slash`); !ok || m.fsType != "ext4" {
		t.Errorf("%+v %v", m, ok)
	}
	if _, ok := table.on("/nowhere"); ok {
		t.Error("a mount that isn't there")
	}
}

func TestFuseConf(t *testing.T) {
	for _, tt := range []struct {
		text  string
		allow bool
		max   int
	}{
		{"", false, 1000},
		{"#user_allow_other\n#mount_max = 10\n", false, 1000},
		{"user_allow_other\nmount_max = 10\n", true, 10},
		{" user_allow_other # yes\nmount_max=x\n", true, 1000},
		{"user_allow_other = 1\n", false, 1000},
	} {
		if allow, n := parseFuseConf(tt.text); allow != tt.allow || n != tt.max {
			t.Errorf("%q: %v %d", tt.text, allow, n)
		}
	}
}

func TestSubIDs(t *testing.T) {
	text := "root:1:2\nme:100000:1000\n1001:300000:65536\nme:x:y\nnot me\nyou:5:70000\n"
	for _, tt := range []struct {
		name         string
		uid          int
		start, count uint64
	}{
		{"me", 1001, 300000, 65536},
		{"me", 1, 100000, 1000},
		{"nobody", 65534, 0, 0},
	} {
		if start, count := subIDs(text, tt.name, tt.uid); start != tt.start || count != tt.count {
			t.Errorf("%s: %d %d", tt.name, start, count)
		}
	}
}
