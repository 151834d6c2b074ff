// Command cast types session.txt into a real shell on a real terminal, with the
// real binary in its PATH, and draws what was shown as an animated SVG: `make
// cast`. Nothing is made up; only waiting is cut short.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
)

//go:embed session.txt
var session string

func main() {
	bin := flag.String("bin", "bin", "directory with the binaries to show")
	out := flag.String("write", "docs/cast.svg", "where the picture goes")
	flag.Parse()
	steps, err := parse(session)
	if err == nil {
		var events []event
		if events, err = record(*bin, steps); err == nil {
			err = os.WriteFile(*out, draw(layOut(events)), 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cast:", err)
		os.Exit(1)
	}
}
