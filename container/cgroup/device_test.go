package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run does what the kernel does with a program, for the few instructions that
// there are.
func run(t *testing.T, p []inst, kind, access, major, minor uint32) int64 {
	t.Helper()
	ctx := map[int16]int64{devCtxAccess: int64(access<<16 | kind), devMajor: int64(major), devMin: int64(minor)}
	var r [6]int64
	for pc := 0; pc < len(p); pc++ {
		i := p[pc]
		switch i.op {
		case opLoad32:
			r[i.dst] = ctx[i.off]
		case opMov:
			r[i.dst] = r[i.src]
		case opMovConst:
			r[i.dst] = int64(i.imm)
		case opAndConst:
			r[i.dst] &= int64(i.imm)
		case opShrConst:
			r[i.dst] >>= i.imm
		case opJmpNE:
			if r[i.dst] != int64(i.imm) {
				pc += int(i.off)
			}
		case opExit:
			return r[regResult]
		}
	}
	t.Fatal("the program has no end")
	return 0
}

func TestDeviceProgram(t *testing.T) {
	p := deviceProgram(append(baseDevices[:len(baseDevices):len(baseDevices)], Device{Block: true, Major: 8, Minor: 1, Access: "r"}))
	for _, c := range []struct {
		what                       string
		kind, access, major, minor uint32
		want                       int64
	}{
		{"null", devChar, accRead | accWrite, 1, 3, 1},
		{"a terminal", devChar, accRead | accWrite, 136, 77, 1},
		{"memory", devChar, accRead, 1, 1, 0},
		{"the node of memory", devChar, accMknod, 1, 1, 1},
		{"its node, opened", devChar, accMknod | accRead, 1, 1, 0},
		{"fuse", devChar, accRead | accWrite, 10, 229, 0},
		{"a block device with the numbers of null", devBlock, accRead, 1, 3, 0},
		{"the disk that was given", devBlock, accRead, 8, 1, 1},
		{"writing to it", devBlock, accRead | accWrite, 8, 1, 0},
		{"the disk beside it", devBlock, accRead, 8, 2, 0},
	} {
		if got := run(t, p, c.kind, c.access, c.major, c.minor); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if n := len(encode(p)); n != 8*len(p) {
		t.Errorf("%d bytes for %d instructions", n, len(p))
	}
}

// TestDeviceList: version 1's list begins with nothing.
func TestDeviceList(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"devices.deny", "devices.allow"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &Group{V1: map[string]string{"devices": dir}}
	if err := g.GuardDevices([]Device{{Block: true, Major: 8, Minor: -1, Access: "r"}}); err != nil {
		t.Fatal(err)
	}
	if got := read(dir, "devices.deny"); got != "a" {
		t.Errorf("denied: %q", got)
	}
	if got := read(dir, "devices.allow"); !strings.HasPrefix(got, "c *:* mb *:* mc 1:3 rwm") || !strings.HasSuffix(got, "c 136:* rwmb 8:* r") {
		t.Errorf("allowed: %q", got)
	}
	if d, err := DeviceOf("/dev/null"); err != nil || d.String() != "c 1:3 rwm" {
		t.Error(d, err)
	}
	var none *Group
	if err := none.GuardDevices(nil); err == nil {
		t.Error("no group, and no error")
	}
}

// TestRates: a disk is found by its number at each start.
func TestRates(t *testing.T) {
	dir := t.TempDir()
	for f, text := range map[string]string{"cgroup.controllers": "io cpuset hugetlb", "io.max": "", "cpuset.mems": "", "hugetlb.1GB.max": ""} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat("/dev/null", &st); err != nil {
		t.Fatal(err)
	}
	g := &Group{V2: dir}
	warnings, err := g.Set(Limits{
		CPUSetMems: "0", HugePages: map[string]uint64{"1GB": 0},
		IORates: []Rate{{"/dev/null", "rbps", 4096}, {"/dev/null", "wiops", 0}},
	}, &host{})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if got := read(dir, "io.max"); got != "1:3 wiops=max" { // the kernel keeps both, a file the last
		t.Errorf("io.max: %q", got)
	}
	if read(dir, "cpuset.mems") != "0" || read(dir, "hugetlb.1GB.max") != "0" {
		t.Error("cpuset.mems, hugetlb.1GB.max:", read(dir, "cpuset.mems"), read(dir, "hugetlb.1GB.max"))
	}
}

// TestRefused: when systemd refuses, its reason is that of each limit.
func TestRefused(t *testing.T) {
	g := &Group{refused: "systemd doesn't make x.scope: it is too late"}
	warnings, err := g.Set(Limits{Memory: 1 << 20, Pids: 4}, &host{v2: "/x", v2Top: "/x"})
	want := "memory is not enforced: systemd doesn't make x.scope: it is too late; pids-limit is not enforced: systemd doesn't make x.scope: it is too late"
	if got := strings.Join(warnings, "; "); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOwnSlice(t *testing.T) {
	for _, c := range []struct {
		path, want string
		uid        int
	}{
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "app.slice", 1000},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-ci.slice/x.service", "app-ci.slice", 1000},
		{"/user.slice/user-1000.slice/session-3.scope", "", 1000},
		{"/user.slice/user-0.slice/session-1.scope", "", 0},
		{"/system.slice/ci.service", "system.slice", 0},
		{"/", "", 0},
	} {
		if got := ownSlice(c.path, c.uid); got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}
