package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/plyfs/plyfs/integration/tables"
)

// publish writes the tables into a document, and beside it the charts and all
// measurements.
func (r *results) publish(document string) error {
	if err := tables.Rewrite(document, "table", r.table()); err != nil {
		return err
	}
	if err := tables.Rewrite(document, "cpu", r.cpuTable()); err != nil {
		return err
	}
	dir := strings.TrimSuffix(document, filepath.Ext(document))
	if err := r.charts(dir); err != nil {
		return err
	}
	return r.save(filepath.Join(dir, "bench.json"))
}

func (r *results) head(b *strings.Builder) {
	fmt.Fprintf(b, "Medians of %d rounds; %s. %d files in the tree, %d small files to make, %d to change, %d MiB of data.\n",
		r.Rounds, r.Machine, r.Size.Tree, r.Size.Small, r.Size.Change, r.Size.Data>>20)
}

// table has the times: the kernel's, and all others as times the kernel's, of the
// same round.
func (r *results) table() string {
	var b strings.Builder
	r.head(&b)
	b.WriteString("Times kernel overlayfs, the median of the rounds and in brackets the least and the most of them; **bold** misses *must*.\n\n| work | CPUs | kernel |")
	var others []string
	for _, v := range r.Variants {
		if v != "kernel" {
			others = append(others, v)
			b.WriteString(" " + v + " |")
		}
	}
	b.WriteString(" must |\n|---|---|---:|" + strings.Repeat("---:|", len(others)) + "---:|\n")
	for _, row := range r.rows() {
		for _, mode := range r.Modes {
			fmt.Fprintf(&b, "| %s | %s | %s |", row, mode, r.time(mode, row))
			for _, v := range others {
				b.WriteString(" " + r.cell(mode, v, row) + " |")
			}
			fmt.Fprintf(&b, " %s |\n", must(row))
		}
	}
	return b.String()
}

func must(row string) string {
	a, p := targetOf(row, ""), targetOf(row, " passthrough")
	switch {
	case a == 0:
		return ""
	case a != p:
		return fmt.Sprintf("%g; %g", a, p)
	}
	return fmt.Sprintf("%g", a)
}

func (r *results) time(mode, row string) string {
	f, ok := summary(r.of(mode, "kernel", row, wall))
	switch {
	case !ok:
		return "-"
	case f.median < 0.01:
		return fmt.Sprintf("%.2f ms", f.median*1000)
	}
	return fmt.Sprintf("%.0f ms", f.median*1000)
}

func (r *results) cell(mode, variant, row string) string {
	f, ok := r.ratios(mode, variant, row, wall)
	if !ok {
		return "-"
	}
	text := short(f.median)
	for _, v := range r.Plyfs {
		if ok, known := r.reached(variant, row); v == variant && known && !ok && mode == "pinned" {
			text = "**" + text + "**"
		}
	}
	if r.Rounds > 1 {
		text += fmt.Sprintf(" (%s–%s)", short(f.least), short(f.most))
	}
	return text
}

// short has two digits that mean something.
func short(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// cpuTable has CPU time and memory.
func (r *results) cpuTable() string {
	var b strings.Builder
	b.WriteString("CPU time of client and server, pinned; in brackets the server's. At the end the most memory that a server had in any work.\n\n| work |")
	for _, v := range r.Variants {
		b.WriteString(" " + v + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.Variants)) + "\n")
	mode := r.Modes[0]
	for _, row := range r.rows() {
		b.WriteString("| " + row + " |")
		for _, v := range r.Variants {
			all, ok := summary(r.of(mode, v, row, cpu))
			if !ok {
				b.WriteString(" - |")
				continue
			}
			fmt.Fprintf(&b, " %.0f ms", all.median*1000)
			if server, _ := summary(r.of(mode, v, row, func(m measurement) float64 { return m.Server })); server.median > 0 {
				fmt.Fprintf(&b, " (%.0f)", server.median*1000)
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	b.WriteString("| memory |")
	for _, v := range r.Variants {
		most := 0.0
		for _, p := range r.Memory {
			if p.Variant == v {
				most = max(most, p.MiB)
			}
		}
		if most == 0 {
			b.WriteString(" - |")
		} else {
			fmt.Fprintf(&b, " %.0f MiB |", most)
		}
	}
	return b.String() + "\n"
}
