package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/integration/tables"
)

// results are all measurements of a run of the benchmark, and what the JSON has.
type results struct {
	Machine  string
	Rounds   int
	Modes    []string
	Variants []string
	Plyfs    []string // of those
	Size     sizes
	Runs     []measurement
	Memory   []peak
}

// peak is the most memory that a server had in one scene.
type peak struct {
	Mode, Variant, Scene string
	MiB                  float64
}

func newResults(c *config) *results {
	r := &results{Machine: tables.Machine(), Rounds: c.rounds, Modes: c.modes, Size: c.size}
	for _, v := range c.variants {
		r.Variants = append(r.Variants, v.Name)
		if v.Plyfs {
			r.Plyfs = append(r.Plyfs, v.Name)
		}
	}
	return r
}

func (r *results) save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func load(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// rows in the order in which they were measured.
func (r *results) rows() (rows []string) {
	for _, m := range r.Runs {
		if !slices.Contains(rows, m.Row) {
			rows = append(rows, m.Row)
		}
	}
	return rows
}

// figure is what a cell says of a series.
type figure struct {
	median, least, most float64
}

func summary(v []float64) (figure, bool) {
	if len(v) == 0 {
		return figure{}, false
	}
	v = slices.Sorted(slices.Values(v))
	return figure{median: (v[len(v)/2] + v[(len(v)-1)/2]) / 2, least: v[0], most: v[len(v)-1]}, true
}

func wall(m measurement) float64 { return m.Wall }
func cpu(m measurement) float64  { return m.Client + m.Server }

// of is a series of one cell.
func (r *results) of(mode, variant, row string, what func(measurement) float64) (v []float64) {
	for _, m := range r.Runs {
		if m.Mode == mode && m.Variant == variant && m.Row == row {
			v = append(v, what(m))
		}
	}
	return v
}

// ratios are a variant's times over the kernel's, round by round.
func (r *results) ratios(mode, variant, row string, what func(measurement) float64) (figure, bool) {
	base := map[int]float64{}
	for _, m := range r.Runs {
		if m.Mode == mode && m.Variant == "kernel" && m.Row == row {
			base[m.Round] = what(m)
		}
	}
	var v []float64
	for _, m := range r.Runs {
		if m.Mode == mode && m.Variant == variant && m.Row == row && base[m.Round] > 0 {
			v = append(v, what(m)/base[m.Round])
		}
	}
	return summary(v)
}

// reached says whether a variant's row is where it must be: by the pinned figure,
// since a free one on a small machine measures how fast the other CPU wakes up.
func (r *results) reached(variant, row string) (ok, known bool) {
	f, known := r.ratios("pinned", variant, row, wall)
	want := targetOf(row, variant)
	return f.median <= want, known && want > 0
}

// missed is an error that lists the rows that no plyfs variant of root reaches.
func (r *results) missed() error {
	var list []string
	for _, row := range r.rows() {
		for _, v := range r.Plyfs {
			if ok, known := r.reached(v, row); known && !ok && !strings.HasSuffix(v, " user") {
				f, _ := r.ratios("pinned", v, row, wall)
				list = append(list, fmt.Sprintf("%s, %s: %.2f, must reach %.2f", v, row, f.median, targetOf(row, v)))
			}
		}
	}
	if list != nil {
		return fmt.Errorf("missed:\n  %s", strings.Join(list, "\n  "))
	}
	return nil
}

// compare says what became slower from one file of results to another: by more
// than a tenth, and beyond what the rounds of each differ by.
func compare(w io.Writer, oldFile, newFile string) error {
	before, err := load(oldFile)
	if err != nil {
		return err
	}
	after, err := load(newFile)
	if err != nil {
		return err
	}
	var slower []string
	for _, row := range after.rows() {
		for _, mode := range after.Modes {
			for _, v := range after.Variants {
				// Ratios where the kernel was measured too: machines differ.
				o, ok1 := before.ratios(mode, v, row, wall)
				n, ok2 := after.ratios(mode, v, row, wall)
				if !ok1 || !ok2 || v == "kernel" || n.median < o.median*1.1 || before.Rounds > 1 && n.least < o.most {
					continue
				}
				slower = append(slower, fmt.Sprintf("%s, %s, %s: %.2f → %.2f times kernel overlayfs", v, row, mode, o.median, n.median))
			}
		}
	}
	if slower != nil {
		return fmt.Errorf("slower than in %s:\n  %s", oldFile, strings.Join(slower, "\n  "))
	}
	fmt.Fprintf(w, "nothing became slower than in %s\n", oldFile)
	return nil
}
