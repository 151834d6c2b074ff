package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/cgroup"
)

const statsUsage = `usage: plyfs stats [FLAG…] [CONTAINER|MOUNT…]

Shows what containers use (all that run) and what mounts do (all of yours), again
each second until ^C. A mount is named by its mount point, with a slash in it.

Of containers, CPU, memory and block I/O come from cgroups; -- stands where there
is none. Of the filesystem: OPS/S requests of the kernel, P50 and P99 how long the
server took for them, HITS names and attributes that no layer was asked for,
READ and WRITTEN bytes per second, COPY-UPS and COPIED since the mount was made,
MEMORY resident in its server. What the kernel answers from its own caches is no
request. plyfs top sorts it, and tells kinds of requests apart.

  --no-stream        once
  -q --quiet         names only
  --format table|json|TEMPLATE   a template is for containers where nothing is named
  --root DIR
`

// statsLine is a container as stats shows it; the names are docker's, and those of
// figures.
type statsLine struct {
	ID, Name, CPUPerc, MemUsage, MemPerc, BlockIO, PIDs string

	FS figures
}

// mountStats is a mount as stats shows it.
type mountStats struct {
	Mount, Device string
	figures
}

// sample is one reading.
type sample struct {
	c     *container.Container
	name  string
	stats cgroup.Stats
	at    time.Time
	fs    *watched // nil: it can't be looked at
}

const statsPause = time.Second

// statsView is what stats shows.
type statsView struct {
	store          *container.Store
	containers     []string // named ones
	mounts         []string
	all            bool // neither is named
	format         string
	quiet          bool
	watched        map[string]*watched // by container id and by device
	seen           map[string]bool     // of those, in this round
	containersLast []sample
}

func statsVerb(args []string) error {
	v := &statsView{format: cli.FormTable, watched: map[string]*watched{}}
	once := false
	on := onContainers{
		usage: statsUsage,
		spec:  cli.Spec{Short: "q", Long: []string{"quiet", "no-stream", "format="}},
		flag: func(f cli.Flag) (err error) {
			switch f.Name {
			case "q", "quiet":
				v.quiet = true
			case "no-stream":
				once = true
			default:
				v.format, err = cli.Form(f.Value)
			}
			return err
		},
		mounts: func(words []string) bool {
			return len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return !isPath(w) })
		},
	}
	store, rest, done, err := on.read(args)
	if err != nil || done {
		return err
	}
	v.store, v.all = store, len(rest) == 0
	for _, w := range rest {
		if namesMount(store, w) {
			v.mounts = append(v.mounts, w)
		} else {
			v.containers = append(v.containers, w)
		}
	}
	return v.run(once)
}

// isPath says whether a word can't be the name of a container.
func isPath(word string) bool { return strings.Contains(word, "/") || word == "." || word == ".." }

// namesMount says whether a word is a mount point and not a container.
func namesMount(store *container.Store, word string) bool {
	if isPath(word) {
		return true
	}
	if _, err := store.Find(word); !errors.Is(err, container.ErrNotFound) {
		return false
	}
	_, err := findMount(word)
	return err == nil
}

func (v *statsView) run(once bool) error {
	if _, _, err := v.round(); err != nil {
		return err
	}
	pause := statsPause
	if once {
		pause /= 5 // two readings make a percentage
	}
	for {
		time.Sleep(pause)
		lines, mounts, err := v.round()
		if err != nil {
			return err
		}
		if !once && screen() {
			fmt.Print("\033[H\033[J")
		}
		if err := v.print(lines, mounts); err != nil || once {
			return err
		}
	}
}

// screen says whether standard output can be drawn on again and again.
func screen() bool { return isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb" }

// round looks at all of them.
func (v *statsView) round() (lines []statsLine, mounts []mountStats, err error) {
	v.seen = map[string]bool{}
	if v.all || len(v.containers) > 0 {
		now, err := v.samples()
		if err != nil {
			return nil, nil, err
		}
		lines = v.lines(v.containersLast, now)
		v.containersLast = now
	}
	if mounts, err = v.lookAtMounts(); err != nil {
		return nil, nil, err
	}
	for key, w := range v.watched {
		if !v.seen[key] {
			_ = w.Close()
			delete(v.watched, key)
		}
	}
	return lines, mounts, nil
}

// keep gives what is known of a subject from the round before; a new one is opened.
func (v *statsView) keep(key string, open func() (*subject, error)) (*watched, error) {
	v.seen[key] = true
	if w := v.watched[key]; w != nil {
		return w, nil
	}
	s, err := open()
	if err != nil {
		return nil, err
	}
	w, err := watch([]*subject{s})
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	v.watched[key] = w[0]
	return w[0], nil
}

func (v *statsView) lookAtMounts() (out []mountStats, err error) {
	if v.all {
		list, err := mountsToLookAt()
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			fresh := false
			w, err := v.keep(s.dev, func() (*subject, error) { fresh = true; return s, nil })
			if !fresh {
				_ = s.Close()
			}
			if err == nil {
				out = append(out, w.line())
			}
		}
		return out, nil
	}
	for _, dir := range v.mounts {
		m, err := findMount(dir)
		if err != nil {
			return nil, err
		}
		w, err := v.keep(m.dev, func() (*subject, error) { return lookAtMount(dir) })
		if err != nil {
			return nil, err
		}
		out = append(out, w.line())
	}
	return out, nil
}

func (w *watched) line() mountStats {
	f, _ := w.look()
	return mountStats{w.name, w.dev, f}
}

// samples reads the named containers, or all that run.
func (v *statsView) samples() ([]sample, error) {
	var list []*container.Container
	var err error
	if len(v.containers) == 0 {
		if list, err = v.store.List(); err != nil {
			return nil, err
		}
	}
	for _, ref := range v.containers {
		c, err := v.store.Find(ref)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	var out []sample
	for _, c := range list {
		s, err := c.Stats()
		if err != nil {
			if len(v.containers) > 0 {
				return nil, err
			}
			continue // it doesn't run
		}
		name := c.Short()
		if st, err := c.State(); err == nil {
			name = st.Name
		}
		w, _ := v.keep(c.ID, func() (*subject, error) { return lookAtContainer(c) })
		out = append(out, sample{c, name, s, time.Now(), w})
	}
	return out, nil
}

func (v *statsView) lines(old, now []sample) []statsLine {
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
			PIDs:     "--", FS: noFigures,
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
		if s.fs != nil {
			l.FS, _ = s.fs.look()
		}
		lines = append(lines, l)
	}
	return lines
}

// print prints the containers, and the mounts below them. The header of the first
// is there also when nothing is, as docker's.
func (v *statsView) print(lines []statsLine, mounts []mountStats) error {
	if v.quiet {
		for _, l := range lines {
			fmt.Println(l.ID)
		}
		for _, m := range mounts {
			fmt.Println(m.Mount)
		}
		return nil
	}
	if len(lines) > 0 || len(mounts) == 0 {
		err := cli.PrintList(os.Stdout, v.format,
			"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.BlockIO}}\t{{.PIDs}}\t{{.FS.OpsPerSec}}\t{{.FS.P99}}",
			map[string]string{"ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "BlockIO": "BLOCK I/O", "OpsPerSec": "OPS/S"}, lines)
		if err != nil || len(mounts) == 0 || v.all && cli.IsTemplate(v.format) {
			return err // docker's templates are for containers
		}
		if v.format == cli.FormTable {
			fmt.Println()
		}
	}
	return printMounts(v.format, mounts)
}

// mountTableForm is how mounts are shown as a table.
const mountTableForm = "table {{.Mount}}\t{{.OpsPerSec}}\t{{.P50}}\t{{.P99}}\t{{.CacheHits}}\t{{.Read}}\t{{.Written}}\t{{.CopyUps}}\t{{.CopiedUp}}\t{{.Memory}}"

var figureHeaders = map[string]string{"OpsPerSec": "OPS/S", "CacheHits": "HITS", "CopyUps": "COPY-UPS", "CopiedUp": "COPIED"}

func printMounts(format string, mounts []mountStats) error {
	return cli.PrintList(os.Stdout, format, mountTableForm, figureHeaders, mounts)
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
