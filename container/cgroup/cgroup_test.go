package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a /proc/self with these two files.
func fake(t *testing.T, cgroup, mountinfo string) host {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cgroup": cgroup, "mountinfo": mountinfo} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := procSelf
	procSelf = dir
	defer func() { procSelf = old }()
	return detect()
}

func TestDetect(t *testing.T) {
	v2 := fake(t, "0::/user.slice/a b\n", `30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate`+"\n")
	if v2.v2 != "/sys/fs/cgroup/user.slice/a b" || v2.v2Top != "/sys/fs/cgroup" || len(v2.v1) != 0 {
		t.Errorf("version 2: %+v", v2)
	}
	hybrid := fake(t, "4:memory:/x/y\n3:cpu,cpuacct:/\n1:name=systemd:/s\n0::/u\n", strings.Join([]string{
		`35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory`,
		`36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct`,
		`41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`,
	}, "\n"))
	for c, dir := range map[string]string{"memory": "/memory/x/y", "cpu": "/cpu,cpuacct", "cpuacct": "/cpu,cpuacct"} {
		if hybrid.v1[c] != "/sys/fs/cgroup"+dir {
			t.Errorf("hybrid: %s is %q", c, hybrid.v1[c])
		}
	}
	if hybrid.v2 != "/sys/fs/cgroup/unified/u" || hybrid.v1["pids"] != "" {
		t.Errorf("hybrid: %+v", hybrid)
	}
	// In a container without a cgroup namespace the mount shows a part.
	part := fake(t, "4:memory:/docker/abc/in\n", `35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`+"\n")
	if part.v1["memory"] != "/sys/fs/cgroup/memory/in" {
		t.Errorf("part: %q", part.v1["memory"])
	}
}

// TestVersion2 sets limits in a directory that looks like a cgroup.
func TestVersion2(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "io.weight", "cpuset.cpus", "hugetlb.2MB.max"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpu cpuset io memory pids hugetlb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &Group{V2: dir}
	l := Limits{Memory: 100, MemorySwap: 150, CPUs: 1.5, CPUShares: 1024, CPUSet: "0-1", Pids: -1, IOWeight: 500, HugePages: map[string]uint64{"2MB": 4}}
	warnings, err := g.Set(l, &host{v2: dir, v2Top: dir})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	for f, want := range map[string]string{
		"memory.max": "100", "memory.swap.max": "50", "cpu.max": "150000 100000", "cpu.weight": "39",
		"pids.max": "max", "io.weight": "500", "cpuset.cpus": "0-1", "hugetlb.2MB.max": "4",
	} {
		if got := read(dir, f); got != want {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
	}
}

// TestWarnings: each limit that nobody enforces is named with a reason.
func TestWarnings(t *testing.T) {
	l := Limits{Memory: 1 << 30, Pids: 5}
	var none *Group
	warnings, err := none.Set(l, &host{v1: map[string]string{"memory": "/cg/memory"}})
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "version 1") || !strings.Contains(warnings[1], "has no cgroup controller pids") {
		t.Errorf("%q, %v", warnings, err)
	}
	if s := none.Stats(); s.Memory != -1 || none.OOMKilled() || none.Freeze(true) == nil || none.Remove() != nil {
		t.Errorf("no group: %+v", s)
	}
}
