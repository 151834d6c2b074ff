package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Stats is what a group uses. A field is -1 where nobody counts.
type Stats struct {
	CPU         int64 // nanoseconds
	Memory      int64 // bytes, without what the kernel can drop at once
	MemoryLimit int64 // -1: none
	Pids        int64
	PidsLimit   int64
	Read, Write int64 // bytes from and to devices
}

// Stats reads the counters.
func (g *Group) Stats() Stats {
	s := Stats{-1, -1, -1, -1, -1, -1, -1}
	if g == nil {
		return s
	}
	s.cpu(g)
	s.memory(g)
	for _, dir := range []string{g.V1["pids"], g.V2} {
		if s.Pids < 0 {
			s.Pids, s.PidsLimit = number(read(dir, "pids.current")), number(read(dir, "pids.max"))
		}
	}
	s.io(g)
	return s
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (s *Stats) cpu(g *Group) {
	if s.CPU = number(read(g.V1["cpuacct"], "cpuacct.usage")); s.CPU >= 0 {
		return
	}
	if n, ok := field(read(g.V2, "cpu.stat"), "usage_usec"); ok {
		s.CPU = int64(n) * 1000
	}
}

// noLimit is more than any machine has: version 1 has no word for "none".
const noLimit = 1 << 60

func (s *Stats) memory(g *Group) {
	used, limit, idle := "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"
	dir := g.V1["memory"]
	if dir == "" {
		dir, used, limit, idle = g.V2, "memory.current", "memory.max", "inactive_file"
	}
	s.Memory = number(read(dir, used))
	if n, ok := field(read(dir, "memory.stat"), idle); ok && s.Memory >= int64(n) {
		s.Memory -= int64(n)
	}
	if n := number(read(dir, limit)); n >= 0 && n < noLimit {
		s.MemoryLimit = n
	}
}

func (s *Stats) io(g *Group) {
	if text := read(g.V2, "io.stat"); text != "" {
		s.Read, s.Write = 0, 0
		for _, w := range strings.Fields(text) {
			if n, ok := strings.CutPrefix(w, "rbytes="); ok {
				s.Read += max(number(n), 0)
			}
			if n, ok := strings.CutPrefix(w, "wbytes="); ok {
				s.Write += max(number(n), 0)
			}
		}
		return
	}
	dir := g.V1["blkio"]
	if dir == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "blkio.throttle.io_service_bytes"))
	if err != nil {
		return
	}
	s.Read, s.Write = 0, 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[1] == "Read" {
			s.Read += max(number(f[2]), 0)
		}
		if len(f) == 3 && f[1] == "Write" {
			s.Write += max(number(f[2]), 0)
		}
	}
}
