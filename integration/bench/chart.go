package main

import (
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// colors of the variants, in their order.
var colors = []color.Color{
	color.RGBA{0x9e, 0x9e, 0x9e, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x00, 0x72, 0xb2, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

// chartRows is how many rows a chart has: more can't be read.
const chartRows = 12

// charts draws the pinned ratios, some rows a file. A bar that is longer than
// four times the kernel's ends there: the table has the figure.
func (r *results) charts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, rows := range slices.Collect(slices.Chunk(r.rows(), chartRows)) {
		if err := r.chart(filepath.Join(dir, "chart"+string(rune('1'+i))+".svg"), rows); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) chart(path string, rows []string) error {
	const longest, bar = 4.0, 5
	p := plot.New()
	p.X.Label.Text = "times kernel overlayfs (pinned); shorter is faster"
	p.X.Min, p.X.Max = 0, longest
	p.Legend.Top, p.Legend.Left = true, false
	rows = slices.Clone(rows)
	slices.Reverse(rows)
	n := 0
	for _, v := range r.Variants {
		if v == "kernel" {
			continue
		}
		values := make(plotter.Values, len(rows))
		for i, row := range rows {
			f, _ := r.ratios(r.Modes[0], v, row, wall)
			values[i] = min(f.median, longest)
		}
		bars, err := plotter.NewBarChart(values, vg.Points(bar))
		if err != nil {
			return err
		}
		bars.Horizontal, bars.LineStyle.Width = true, 0
		bars.Color = colors[n%len(colors)]
		bars.Offset = -vg.Points(float64(bar) * (float64(n) - 2))
		p.Add(bars)
		p.Legend.Add(v, bars)
		n++
	}
	line, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(rows)) - 0.5}})
	if err != nil {
		return err
	}
	p.Add(line)
	p.NominalY(rows...)
	return p.Save(22*vg.Centimeter, vg.Length(len(rows)+2)*1.3*vg.Centimeter, path)
}
