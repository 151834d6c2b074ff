package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Limits are those of a group; zero is none.
type Limits struct {
	Memory     int64 // bytes
	MemorySwap int64 // bytes of memory and swap together; -1 is no limit; 0 is twice the memory
	CPUs       float64
	CPUShares  uint64 // 2 to 262144, 1024 is usual
	CPUSet     string
	CPUSetMems string
	Pids       int64 // -1 is no limit
	IOWeight   uint16
	IORates    []Rate
	HugePages  map[string]uint64 // "2MB" to bytes
}

// controllers are those that the limits need.
func (l *Limits) controllers() []string {
	var out []string
	for _, c := range []struct {
		on   bool
		name string
	}{
		{l.Memory != 0 || l.MemorySwap != 0, "memory"},
		{l.CPUs != 0 || l.CPUShares != 0, "cpu"},
		{l.CPUSet != "" || l.CPUSetMems != "", "cpuset"},
		{l.Pids != 0, "pids"},
		{l.IOWeight != 0 || len(l.IORates) > 0, "io"},
		{l.IOWeight != 0 || len(l.IORates) > 0, "blkio"},
		{len(l.HugePages) > 0, "hugetlb"},
	} {
		if c.on {
			out = append(out, c.name)
		}
	}
	return out
}

// setting is one limit in the terms of both versions.
type setting struct {
	what       string // for the warning
	controller string // version 2
	old        string // version 1
	v1, v2     []write
}

type write struct {
	file, value string
	optional    bool // a kernel may lack it
}

const cpuPeriod = 100_000 // microseconds

func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// settings translates the limits.
func (l *Limits) settings() []setting {
	var out []setting
	if l.Memory != 0 || l.MemorySwap != 0 {
		out = append(out, l.memory())
	}
	if l.CPUs != 0 {
		quota := strconv.FormatInt(int64(l.CPUs*cpuPeriod), 10)
		period := strconv.Itoa(cpuPeriod)
		out = append(out, setting{
			"cpus", "cpu", "cpu",
			[]write{{"cpu.cfs_period_us", period, false}, {"cpu.cfs_quota_us", quota, false}},
			[]write{{"cpu.max", quota + " " + period, false}},
		})
	}
	if l.CPUShares != 0 {
		// The mapping of the two scales that systemd and the OCI runtimes use.
		weight := 1 + (l.CPUShares-2)*9999/262142
		out = append(out, setting{
			"cpu-shares", "cpu", "cpu",
			[]write{{"cpu.shares", strconv.FormatUint(l.CPUShares, 10), false}},
			[]write{{"cpu.weight", strconv.FormatUint(weight, 10), false}},
		})
	}
	if l.CPUSet != "" {
		w := []write{{"cpuset.cpus", l.CPUSet, false}}
		out = append(out, setting{"cpuset-cpus", "cpuset", "cpuset", w, w})
	}
	if l.CPUSetMems != "" {
		w := []write{{"cpuset.mems", l.CPUSetMems, false}}
		out = append(out, setting{"cpuset-mems", "cpuset", "cpuset", w, w})
	}
	if l.Pids != 0 {
		w := []write{{"pids.max", orMax(l.Pids), false}}
		out = append(out, setting{"pids-limit", "pids", "pids", w, w})
	}
	if l.IOWeight != 0 {
		weight := strconv.Itoa(int(l.IOWeight))
		out = append(out, setting{
			"blkio-weight", "io", "blkio",
			[]write{{"blkio.bfq.weight", weight, true}, {"blkio.weight", weight, true}},
			[]write{{"io.bfq.weight", weight, true}, {"io.weight", weight, true}},
		})
	}
	for _, r := range l.IORates {
		out = append(out, r.setting())
	}
	for _, size := range slices.Sorted(maps.Keys(l.HugePages)) {
		n := strconv.FormatUint(l.HugePages[size], 10)
		out = append(out, setting{
			"hugetlb " + size, "hugetlb", "hugetlb",
			[]write{{"hugetlb." + size + ".limit_in_bytes", n, false}},
			[]write{{"hugetlb." + size + ".max", n, false}},
		})
	}
	return out
}

// memory is the limit of memory and that of swap, which version 1 counts
// together and version 2 apart.
func (l *Limits) memory() setting {
	s := setting{what: "memory", controller: "memory", old: "memory"}
	asked := l.MemorySwap != 0
	swap := l.MemorySwap
	if !asked {
		swap = 2 * l.Memory
	}
	if l.Memory != 0 {
		n := strconv.FormatInt(l.Memory, 10)
		s.v1 = append(s.v1, write{"memory.limit_in_bytes", n, false})
		s.v2 = append(s.v2, write{"memory.max", n, false})
	}
	s.v1 = append(s.v1, write{"memory.memsw.limit_in_bytes", strconv.FormatInt(swap, 10), !asked})
	only := swap
	if swap > 0 {
		only = max(swap-l.Memory, 0)
	}
	s.v2 = append(s.v2, write{"memory.swap.max", orMax(only), !asked})
	return s
}

// Update changes the limits of a living group.
func (g *Group) Update(l Limits) ([]string, error) {
	h := detect()
	return g.Set(l, &h)
}

// Set writes the limits. What can't be enforced is a warning; a value that the
// kernel refuses is an error.
func (g *Group) Set(l Limits, h *host) (warnings []string, err error) {
	for _, s := range l.settings() {
		dir, writes := "", s.v1
		if g != nil {
			dir = g.V1[s.old]
			if dir == "" && g.V2 != "" && slices.Contains(controllers(g.V2, "cgroup.controllers"), s.controller) {
				dir, writes = g.V2, s.v2
			}
		}
		if dir == "" {
			warnings = append(warnings, fmt.Sprintf("%s is not enforced: %s", s.what, h.why(s, g)))
			continue
		}
		done, err := apply(dir, writes)
		if errors.Is(err, unix.ENODEV) && s.controller == "io" {
			err = fmt.Errorf("%w: only a whole disk can be limited, not a part of it", err)
		}
		if err != nil {
			return nil, fmt.Errorf("limit %s: %w", s.what, err)
		}
		if !done {
			warnings = append(warnings, fmt.Sprintf("%s is not enforced: this kernel has no file for it in %s", s.what, dir))
		}
	}
	return warnings, nil
}

// apply writes what there is of a setting. A limit can collide with the old
// value of another one (memory with memory and swap): the order is tried both
// ways.
func apply(dir string, writes []write) (done bool, err error) {
	var failed []write
	for _, w := range writes {
		switch err = w.to(dir); {
		case err == nil:
			done = true
		case errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) && w.optional:
			if !w.optional {
				return false, nil
			}
		default:
			failed = append(failed, w)
		}
	}
	for _, w := range failed { // now that the others are in force
		if err := w.to(dir); err != nil {
			return done, err
		}
		done = true
	}
	return done, nil
}

func (w write) to(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, w.file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(w.value)
	return err
}

// why explains a limit that can't be enforced.
func (h *host) why(s setting, g *Group) string {
	switch {
	case g != nil && g.refused != "":
		return g.refused
	case h.v1[s.old] != "":
		return fmt.Sprintf("the cgroup controller %s is in a version 1 hierarchy, where only root may make groups (%s)", s.old, h.v1[s.old])
	case !h.has2(s.controller):
		return fmt.Sprintf("this kernel, or the container that we are in, has no cgroup controller %s", s.controller)
	}
	if g != nil && g.Scope != "" {
		return fmt.Sprintf("systemd doesn't hand the cgroup controller %s down to you: root can write [Service] and Delegate=cpu cpuset io memory pids to /etc/systemd/system/user@.service.d/delegate.conf", s.controller)
	}
	return fmt.Sprintf("the cgroup controller %s isn't delegated to you in %s: log in with a systemd --user (loginctl enable-linger), or have root give you a cgroup", s.controller, h.v2)
}
