package images

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/image/ship"
)

// progress tells on standard error what becomes of layers: one line each, that
// changes on a terminal and is written at the end elsewhere.
type progress struct {
	mu    sync.Mutex
	order []string
	state map[string]ship.Progress
	drawn time.Time
	lines int // on the terminal
	tty   bool
}

// report has a Shipper tell what it does, unless quiet.
func report(s *ship.Shipper, quiet bool) (finish func()) {
	if quiet {
		return func() {}
	}
	p := &progress{state: map[string]ship.Progress{}, tty: cli.IsTerminal(os.Stderr)}
	s.Report = p.note
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.draw(true)
	}
}

// redraw is how often a terminal shows something new.
const redraw = 100 * time.Millisecond

func (p *progress) note(n ship.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old, known := p.state[n.Digest]
	if !known {
		p.order = append(p.order, n.Digest)
	}
	if n.Total == 0 {
		n.Total = old.Total
	}
	p.state[n.Digest] = n
	if p.tty {
		p.draw(old.Step != n.Step)
	} else if n.Step == "done" {
		what := "done"
		if old.Step == "exists" {
			what = "exists already"
		}
		fmt.Fprintf(os.Stderr, "%s  %s  %s\n", short(n.Digest), humanSize(n.Total), what)
	}
}

func (p *progress) draw(now bool) {
	if !p.tty || !now && time.Since(p.drawn) < redraw {
		return
	}
	p.drawn = time.Now()
	if p.lines > 0 {
		fmt.Fprintf(os.Stderr, "\x1b[%dA", p.lines)
	}
	for _, d := range p.order {
		n := p.state[d]
		text := map[string]string{"fetch": "fetching", "unpack": "unpacking", "exists": "exists already", "done": "done"}[n.Step]
		if n.Step == "fetch" && n.Total > 0 {
			text = fmt.Sprintf("fetching %s of %s", humanSize(n.Done), humanSize(n.Total))
		}
		fmt.Fprintf(os.Stderr, "\x1b[2K%s  %s\n", short(d), text)
	}
	p.lines = len(p.order)
}
