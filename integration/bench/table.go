package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/integration/tables"
)

// key names one series of measurements.
type key struct{ mode, variant, work string }

type results struct {
	config *config
	values map[key][]float64
}

func (r *results) median(mode, variant, work string) (float64, bool) {
	v := slices.Sorted(slices.Values(r.values[key{mode, variant, work}]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2, true
}

// table is the Markdown text: seconds, and in brackets how many times as fast
// as fuse-overlayfs.
func (r *results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds; %d files in %d layers, %d files to read, unpack and delete; %s.\n",
		r.config.rounds, r.config.size.Files, layers, r.config.size.Work, tables.Machine())
	if r.config.cpu {
		b.WriteString("CPU time of client and server. ")
	}
	b.WriteString("In brackets: times as fast as fuse-overlayfs.\n\n| work | CPUs |")
	for _, v := range r.config.variants {
		fmt.Fprintf(&b, " %s |", v.Name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---:|", len(r.config.variants)) + "\n")
	for _, work := range append(slices.Clone(works), serverRSS) {
		for _, mode := range r.config.modes {
			fmt.Fprintf(&b, "| %s | %s |", work, mode)
			for _, v := range r.config.variants {
				b.WriteString(" " + r.cell(mode, v.Name, work) + " |")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (r *results) cell(mode, variant, work string) string {
	got, ok := r.median(mode, variant, work)
	switch {
	case !ok:
		return "-"
	case work == serverRSS:
		return fmt.Sprintf("%.1f MiB", got)
	}
	text := fmt.Sprintf("%.0f ms", got*1000)
	if base, ok := r.median(mode, "fuse-overlayfs", work); ok && variant != "fuse-overlayfs" {
		text += fmt.Sprintf(" (%.2f)", base/got)
	}
	return text
}

// fasterThan is an error that lists where a plyfs is not the faster one.
func (r *results) fasterThan(other string) error {
	var slow []string
	for _, v := range r.config.variants {
		for _, mode := range r.config.modes {
			for _, work := range works {
				base, ok1 := r.median(mode, other, work)
				got, ok2 := r.median(mode, v.Name, work)
				if v.Plyfs && ok1 && ok2 && got >= base {
					slow = append(slow, fmt.Sprintf("%s, %s, %s: %.0f ms, %s %.0f ms", v.Name, work, mode, got*1000, other, base*1000))
				}
			}
		}
	}
	if len(slow) > 0 {
		return fmt.Errorf("not faster than %s:\n  %s", other, strings.Join(slow, "\n  "))
	}
	return nil
}
