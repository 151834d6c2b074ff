package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
)

const topUsage = `usage: plyfs top [FLAG…]
       plyfs top [FLAG…] MOUNT
       plyfs top [FLAG…] CONTAINER

Without an argument: mounts and roots of containers, the busiest first, again each
second until ^C, with the kinds of requests that most of it is. Of a mount (its mount
point, with a slash in it): how often each kind of request comes and how long the
server takes for it. Of a container: its processes, once, with the ids that the host
has for them.

  --no-stream        once
  -q --quiet         names only (of a container: process ids)
  --format table|json|TEMPLATE
  --root DIR
`

// topLine is a process as top shows it.
type topLine struct {
	UID, PID, PPID int
	Time, Command  string
}

// topOptions are the flags of top.
type topOptions struct {
	once, quiet bool
	format      string
	root        string
}

func topVerb(args []string) error {
	o := topOptions{format: cli.FormTable}
	flags, rest, err := cli.Spec{Short: "hq", Long: []string{"help", "quiet", "no-stream", "format=", "root="}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, topUsage) {
		return nil
	}
	for _, f := range flags {
		switch f.Name {
		case "q", "quiet":
			o.quiet = true
		case "no-stream":
			o.once = true
		case "root":
			o.root = f.Value
		case "format":
			if o.format, err = cli.Form(f.Value); err != nil {
				return err
			}
		}
	}
	if len(rest) == 0 {
		return o.busiest()
	}
	word, err := cli.One(rest, "mount or container")
	if err != nil {
		return err
	}
	store, err := openStore(o.root)
	if err != nil {
		return err
	}
	if namesMount(store, word) {
		return o.kinds(word)
	}
	c, err := store.Find(word)
	if err != nil {
		return err
	}
	return o.processes(c)
}

func (o *topOptions) processes(c *container.Container) error {
	list, err := c.Processes()
	if err != nil {
		return err
	}
	var lines []topLine
	for _, p := range list {
		if o.quiet {
			fmt.Println(p.PID)
			continue
		}
		lines = append(lines, topLine{p.UID, p.PID, p.PPID, p.CPU.Round(10 * time.Millisecond).String(), p.Command})
	}
	if o.quiet {
		return nil
	}
	return cli.PrintList(os.Stdout, o.format, "table {{.UID}}\t{{.PID}}\t{{.PPID}}\t{{.Time}}\t{{.Command}}", nil, lines)
}

// busyLine is a mount or a container's root.
type busyLine struct {
	Name string
	figures
	Mostly string // the kinds of requests that come most
}

// busiest shows all that can be looked at.
func (o *topOptions) busiest() error {
	known := map[string]*watched{}
	round := func() (lines []busyLine, err error) {
		list, err := subjects(o.root, nil)
		if err != nil {
			return nil, err
		}
		before := known
		known = map[string]*watched{}
		for _, s := range list {
			key := s.dev
			if s.c != nil {
				key = s.c.ID
			}
			if w := before[key]; w != nil {
				_ = s.Close()
				delete(before, key)
				known[key] = w
				f, _ := w.look()
				lines = append(lines, busyLine{w.name, f, mostly(f.Ops)})
				continue
			}
			w, err := watch([]*subject{s})
			if err != nil {
				_ = s.Close()
				continue // it has just ended
			}
			known[key] = w[0]
		}
		for _, w := range before {
			_ = w.Close()
		}
		slices.SortStableFunc(lines, func(a, b busyLine) int { return cmp.Compare(b.OpsPerSec, a.OpsPerSec) })
		return lines, nil
	}
	if _, err := round(); err != nil {
		return err
	}
	return o.again(func() error {
		lines, err := round()
		if err != nil {
			return err
		}
		o.clear()
		if o.quiet {
			for _, l := range lines {
				fmt.Println(l.Name)
			}
			return nil
		}
		return cli.PrintList(os.Stdout, o.format,
			"table {{.Name}}\t{{.OpsPerSec}}\t{{.P50}}\t{{.P99}}\t{{.CacheHits}}\t{{.Read}}\t{{.Written}}\t{{.CopyUps}}\t{{.Memory}}\t{{.Mostly}}",
			figureHeaders, lines)
	})
}

// again calls show each second, or once.
func (o *topOptions) again(show func() error) error {
	pause := statsPause
	if o.once {
		pause /= 5
	}
	for {
		time.Sleep(pause)
		if err := show(); err != nil || o.once {
			return err
		}
	}
}

func (o *topOptions) clear() {
	if !o.once && screen() {
		fmt.Print("\033[H\033[J")
	}
}

// mostly names the three kinds that come most, with their shares.
func mostly(ops map[string]uint64) string {
	var names, out []string
	total := uint64(0)
	for n, k := range ops {
		names = append(names, n)
		total += k
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(ops[b], ops[a]), strings.Compare(a, b))
	})
	for _, n := range names[:min(3, len(names))] {
		out = append(out, fmt.Sprintf("%s %d%%", n, 100*ops[n]/total))
	}
	return strings.Join(out, ", ")
}

// kindLine is a kind of request to a mount.
type kindLine struct {
	Op       string
	PerSec   rate
	P50, P99 took
	Total    uint64 // since the mount was made
}

// kinds shows one mount.
func (o *topOptions) kinds(dir string) error {
	s, err := lookAtMount(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	w, err := watch([]*subject{s})
	if err != nil {
		return err
	}
	return o.again(func() error {
		if err := s.gone(); err != nil {
			return err
		}
		before := w[0].last
		f, d := w[0].look()
		o.clear()
		lines := kindLines(before, w[0].last, d)
		if o.quiet {
			for _, l := range lines {
				fmt.Println(l.Op)
			}
			return nil
		}
		if o.format == cli.FormTable {
			if err := printMounts(o.format, []mountStats{{s.name, s.dev, f}}); err != nil {
				return err
			}
			fmt.Println()
		}
		return cli.PrintList(os.Stdout, o.format, "table {{.Op}}\t{{.PerSec}}\t{{.P50}}\t{{.P99}}\t{{.Total}}",
			map[string]string{"PerSec": "PER SECOND"}, lines)
	})
}

// kindLines has the kinds that ever came, the most frequent first.
func kindLines(before, now, d *meter.Snapshot) (lines []kindLine) {
	seconds := max(now.At.Sub(before.At).Seconds(), 1e-9)
	for op, n := range now.N {
		if n == 0 {
			continue
		}
		one := &meter.Snapshot{}
		one.Times[op] = d.Times[op]
		lines = append(lines, kindLine{
			fusefs.OpName(uint32(op)), rate(float64(d.N[op]) / seconds),
			took(one.Quantile(0.5)), took(one.Quantile(0.99)), n,
		})
	}
	slices.SortStableFunc(lines, func(a, b kindLine) int {
		return cmp.Or(cmp.Compare(b.PerSec, a.PerSec), cmp.Compare(b.Total, a.Total))
	})
	return lines
}
