package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plyfs/plyfs/integration/tables"
)

type results struct {
	config   *config
	commands []contest
	values   map[string][]sample
	memory   map[string]memory
}

// median of one command, by what is taken of its samples.
func (r *results) median(name string, of func(sample) time.Duration) float64 {
	var v []float64
	for _, s := range r.values[name] {
		v = append(v, of(s).Seconds()*1000)
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

func (r *results) least(name string) float64 {
	return slices.MinFunc(r.values[name], func(a, b sample) int { return int(a.wall - b.wall) }).wall.Seconds() * 1000
}

// table is the Markdown text.
func (r *results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds as a user with subordinate ids; %s. CPU is that of all processes.\n\n", r.config.rounds, tables.Machine())
	b.WriteString("| command | on | median | least | CPU | × bwrap | × crun | memory: peak | settled |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, c := range r.commands {
		ms := r.median(c.name, wall)
		fmt.Fprintf(&b, "| %s | %s | %.1f ms | %.1f ms | %.1f ms |", c.name, c.group, ms, r.least(c.name), r.median(c.name, cpu))
		switch c.group {
		case onHost:
			fmt.Fprintf(&b, " %.2f | |", ms/r.median(bwrapHost, wall))
		default:
			fmt.Fprintf(&b, " %.2f | %.2f |", ms/r.median(bwrapRoot, wall), ms/r.median(crunMany, wall))
		}
		if m, ok := r.memory[c.name]; ok {
			fmt.Fprintf(&b, " %.1f MiB | %.1f MiB |\n", float64(m.peak)/1024, float64(m.settled)/1024)
		} else {
			b.WriteString(" | |\n")
		}
	}
	return b.String()
}
