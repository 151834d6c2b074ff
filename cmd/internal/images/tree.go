package images

import (
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/image/ship"
)

// treeLine is a layer as tree shows it.
type treeLine struct {
	Layer, CreatedBy        string
	Added, Changed, Deleted int
	Bytes, Wasted           int64
	Size, WastedSize        string
}

func tree(c *call) error {
	ref, err := c.one("an image")
	if err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	e, err := s.Store.Find(ref)
	if err != nil {
		return err
	}
	layers, err := s.Tree(e)
	if err != nil {
		return err
	}
	if cli.Quiet() {
		for i := range layers {
			fmt.Println(layerName(&layers[i]))
		}
		return nil
	}
	if c.has("a", "all") {
		for i := range layers {
			fmt.Printf("%s  %s\n", layerName(&layers[i]), layers[i].CreatedBy)
			for _, f := range layers[i].Files {
				fmt.Printf("  %c %10d %s\n", f.Kind, f.Size, cli.OneLine(f.Path))
			}
		}
		return nil
	}
	var lines []treeLine
	for i := range layers {
		l := &layers[i]
		by := cli.OneLine(strings.ReplaceAll(l.CreatedBy, "\t", " "))
		if f := c.value("table", "format"); f == "table" && len(by) > 60 {
			by = strings.ToValidUTF8(by[:59], "") + "…"
		}
		lines = append(lines, treeLine{
			layerName(l), by, l.Added, l.Changed, l.Deleted, l.Bytes, l.Wasted, humanSize(l.Bytes), humanSize(l.Wasted),
		})
	}
	format := c.value("table", "format")
	if err := cli.PrintList(os.Stdout, format,
		"table {{.Layer}}\t{{.Added}}\t{{.Changed}}\t{{.Deleted}}\t{{.Size}}\t{{.WastedSize}}\t{{.CreatedBy}}",
		map[string]string{"CreatedBy": "CREATED BY", "WastedSize": "WASTED"}, lines); err != nil {
		return err
	}
	if format == "table" {
		share, wasted, total := ship.Efficiency(layers)
		fmt.Printf("%s in all, %s wasted, efficiency %.1f %%\n", humanSize(total), humanSize(wasted), share*100)
	}
	return nil
}

func layerName(l *ship.LayerStat) string {
	if l.Chain == "" {
		return "<none>"
	}
	return short(l.Chain)
}
