package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
)

const metricsUsage = `usage: plyfs metrics [FLAG…]

Prints the figures of all mounts and roots of containers of yours in the text format
of Prometheus. No server of a mount listens to anything (who is in a container could
reach it), so a timer has node_exporter's textfile collector take them:

  plyfs metrics -o /var/lib/node_exporter/plyfs.prom

Requests are timed from the first call on, as long as another one comes every five
minutes. The daemon of the snapshotter has the figures of its mounts at its own
address (docs/containerd.md).

  -o --output FILE   write a file, which is never half there
  -q --quiet         names of what there are figures of, only
  --format text|json json: one object per line, as plyfs stats has it
  --root DIR
  -h --help          this text
`

// metricsLease is how long requests are timed after a call.
const metricsLease = 5 * time.Minute

func metricsVerb(args []string) error {
	output, root, form, quiet := "", "", cli.FormTable, false
	flags, rest, err := cli.Spec{Short: "ho:q", Long: []string{"help", "output=", "quiet", "format=", "root="}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, metricsUsage) {
		return nil
	}
	for _, f := range flags {
		switch f.Name {
		case "o", "output":
			output = f.Value
		case "q", "quiet":
			quiet = true
		case "root":
			root = f.Value
		case "format":
			if form, err = cli.Form(f.Value); err != nil {
				return err
			}
			if cli.IsTemplate(form) {
				return errors.New("--format: plyfs metrics has no template; plyfs stats has")
			}
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("metrics takes no argument; %q was given", rest[0])
	}
	list, err := subjects(root, nil)
	if err != nil {
		return err
	}
	defer closeAll(list)
	var text bytes.Buffer
	switch {
	case quiet:
		for _, s := range list {
			fmt.Fprintln(&text, s.name)
		}
	case form == cli.FormJSON:
		var lines []mountStats
		for _, s := range list {
			now := s.Snapshot()
			lines = append(lines, mountStats{s.name, s.dev, s.figuresOf(&meter.Snapshot{At: time.Unix(0, s.Began.Load())}, now)})
		}
		err = cli.PrintList(&text, form, "", nil, lines)
	default:
		err = writeMetrics(&text, list)
	}
	if err != nil {
		return err
	}
	if output == "" {
		_, err = os.Stdout.Write(text.Bytes())
		return err
	}
	return writeWhole(output, text.Bytes())
}

// writeWhole puts a file in place of the one that is there.
func writeWhole(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// metricFamily is a metric of every mount.
type metricFamily struct {
	name, kind, help string
	samples          func(s *subject, snap *meter.Snapshot, put func(suffix, labels string, v any))
}

// metricFamilies have the names that the snapshotter's daemon uses, too.
var metricFamilies = []metricFamily{
	{"plyfs_fuse_requests_total", "counter", "FUSE requests by kind.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		for op, n := range snap.N {
			if n > 0 {
				put("", opLabel(op), n)
			}
		}
	}},
	{"plyfs_fuse_request_seconds", "histogram", "How long the server took for requests, by kind, while they were timed.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		for op := range snap.Times {
			putTimes(op, snap, put)
		}
	}},
	{"plyfs_answers_total", "counter", "Names and attributes by where they came from.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		put("", `from="memory"`, snap.Known)
		put("", `from="layer"`, snap.Asked)
	}},
	{"plyfs_copy_ups_total", "counter", "Files and directories copied to the upper layer.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		put("", "", snap.CopyUps)
	}},
	{"plyfs_copy_up_bytes_total", "counter", "Bytes copied to the upper layer.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		put("", "", snap.CopiedUp)
	}},
	{"plyfs_read_bytes_total", "counter", "Bytes that the kernel read.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		put("", "", snap.Read)
	}},
	{"plyfs_written_bytes_total", "counter", "Bytes that the kernel wrote.", func(_ *subject, snap *meter.Snapshot, put func(string, string, any)) {
		put("", "", snap.Written)
	}},
	{"plyfs_server_resident_bytes", "gauge", "Resident memory of the process that serves it.", func(s *subject, _ *meter.Snapshot, put func(string, string, any)) {
		if n := resident(s.server); n >= 0 {
			put("", "", n)
		}
	}},
}

func opLabel(op int) string {
	return fmt.Sprintf("op=%q", strings.ToLower(fusefs.OpName(uint32(op))))
}

// putTimes puts a histogram, of every other bucket: always the same ones, so that
// rates of them can be added up.
func putTimes(op int, snap *meter.Snapshot, put func(suffix, labels string, v any)) {
	n := uint64(0)
	for _, k := range snap.Times[op] {
		n += k
	}
	if n == 0 {
		return
	}
	sum := uint64(0)
	for b, k := range snap.Times[op] {
		sum += k
		if meter.Exported(b) {
			put("_bucket", fmt.Sprintf(`%s,le="%g"`, opLabel(op), meter.Bound(b).Seconds()), sum)
		}
	}
	put("_bucket", opLabel(op)+`,le="+Inf"`, n)
	put("_sum", opLabel(op), float64(snap.Sum[op])/1e9)
	put("_count", opLabel(op), n)
}

// writeMetrics writes all figures.
func writeMetrics(out io.Writer, list []*subject) error {
	w := bufio.NewWriter(out)
	snaps := make([]*meter.Snapshot, len(list))
	for i, s := range list {
		snaps[i] = s.Snapshot()
		if err := s.Watch(metricsLease); err != nil && s.gone() == nil {
			tell([]string{fmt.Sprintf("the requests of %s can't be timed: %v", s.name, err)})
		}
	}
	for _, f := range metricFamilies {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for i, s := range list {
			kind := "mount"
			if s.c != nil {
				kind = "container"
			}
			who := fmt.Sprintf(`%s="%s"`, kind, labelEscapes.Replace(s.name))
			f.samples(s, snaps[i], func(suffix, labels string, v any) {
				if labels != "" {
					labels = "," + labels
				}
				fmt.Fprintf(w, "%s%s{%s%s} %v\n", f.name, suffix, who, labels, v)
			})
		}
	}
	return w.Flush()
}

// labelEscapes are those of the format.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
