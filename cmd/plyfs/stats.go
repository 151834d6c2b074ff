package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/cgroup"
)

const statsUsage = `usage: plyfs stats [FLAG…] [CONTAINER…]

Shows what containers use (all that run), again each second until ^C. The
figures come from cgroups; -- stands where there is none.

  --no-stream        once
  --format table|json|TEMPLATE
  --root DIR
`

// statsLine is a container as stats shows it; the names are docker's.
type statsLine struct {
	ID, Name, CPUPerc, MemUsage, MemPerc, BlockIO, PIDs string
}

// sample is one reading.
type sample struct {
	c     *container.Container
	name  string
	stats cgroup.Stats
	at    time.Time
}

const statsPause = time.Second

func statsVerb(args []string) error {
	once, format := false, "table"
	v := onContainers{
		usage: statsUsage,
		spec:  cli.Spec{Long: []string{"no-stream", "format="}},
		flag: func(f cli.Flag) (err error) {
			if f.Name == "no-stream" {
				once = true
			} else {
				format, err = cli.Form(f.Value)
			}
			return err
		},
	}
	store, rest, done, err := v.read(args)
	if err != nil || done {
		return err
	}
	old, err := samples(store, rest)
	if err != nil {
		return err
	}
	pause := statsPause
	if once {
		pause /= 5 // two readings make a percentage
	}
	for {
		time.Sleep(pause)
		now, err := samples(store, rest)
		if err != nil {
			return err
		}
		if !once && isTerminal(os.Stdout) {
			fmt.Print("\033[H\033[J")
		}
		if err := printStats(old, now, format); err != nil || once {
			return err
		}
		old = now
	}
}

// samples reads the named containers, or all that run.
func samples(store *container.Store, refs []string) ([]sample, error) {
	var list []*container.Container
	var err error
	if len(refs) == 0 {
		if list, err = store.List(); err != nil {
			return nil, err
		}
	}
	for _, ref := range refs {
		c, err := store.Find(ref)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	var out []sample
	for _, c := range list {
		s, err := c.Stats()
		if err != nil {
			if len(refs) > 0 {
				return nil, err
			}
			continue // it doesn't run
		}
		name := c.Short()
		if st, err := c.State(); err == nil {
			name = st.Name
		}
		out = append(out, sample{c, name, s, time.Now()})
	}
	return out, nil
}

func printStats(old, now []sample, format string) error {
	before := map[string]sample{}
	for _, s := range old {
		before[s.c.ID] = s
	}
	lines := make([]statsLine, 0, len(now))
	for _, s := range now {
		l := statsLine{
			ID: s.c.Short(), Name: s.name, CPUPerc: "--", MemPerc: "--",
			MemUsage: bytesOrDashes(s.stats.Memory) + " / " + bytesOrDashes(s.stats.MemoryLimit),
			BlockIO:  bytesOrDashes(s.stats.Read) + " / " + bytesOrDashes(s.stats.Write),
			PIDs:     "--",
		}
		if p, ok := before[s.c.ID]; ok && s.stats.CPU >= 0 && p.stats.CPU >= 0 {
			l.CPUPerc = fmt.Sprintf("%.2f%%", 100*float64(s.stats.CPU-p.stats.CPU)/float64(s.at.Sub(p.at)))
		}
		if s.stats.Memory >= 0 && s.stats.MemoryLimit > 0 {
			l.MemPerc = fmt.Sprintf("%.2f%%", 100*float64(s.stats.Memory)/float64(s.stats.MemoryLimit))
		}
		if s.stats.Pids >= 0 {
			l.PIDs = fmt.Sprint(s.stats.Pids)
		}
		lines = append(lines, l)
	}
	return cli.PrintList(os.Stdout, format,
		"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.BlockIO}}\t{{.PIDs}}",
		map[string]string{"ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "BlockIO": "BLOCK I/O"}, lines)
}

// bytesOrDashes is a size for people; what nobody counts is --.
func bytesOrDashes(n int64) string {
	if n < 0 {
		return "--"
	}
	f, unit := float64(n), 0
	units := strings.Fields("B KiB MiB GiB TiB")
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.4g%s", f, units[unit])
}

const topUsage = `usage: plyfs top [--root DIR] CONTAINER

Lists the processes of a container with the ids that the host has for them.
`

// topLine is a process as top shows it.
type topLine struct {
	UID, PID, PPID int
	Time, Command  string
}

func topVerb(args []string) error {
	return onContainers{
		usage: topUsage,
		one:   true,
		each: func(c *container.Container, _ string) error {
			list, err := c.Processes()
			if err != nil {
				return err
			}
			var lines []topLine
			for _, p := range list {
				lines = append(lines, topLine{p.UID, p.PID, p.PPID, p.CPU.Round(10 * time.Millisecond).String(), p.Command})
			}
			return cli.PrintList(os.Stdout, "table",
				"table {{.UID}}\t{{.PID}}\t{{.PPID}}\t{{.Time}}\t{{.Command}}", nil, lines)
		},
	}.run(args)
}
