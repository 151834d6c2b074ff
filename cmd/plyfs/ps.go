package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const psUsage = `usage: plyfs ps [FLAG…]

Lists the containers that run.

  -a, --all          all of them
  -q, --quiet        ids only
  --no-trunc         whole ids and commands
  --format table|json|TEMPLATE
  --root DIR
`

// psLine is a container as ps shows it; the names are docker's.
type psLine struct {
	ID, Image, Command, CreatedAt, RunningFor, Ports, State, Status, Names, Labels, Networks string
}

func psVerb(args []string) error {
	all, quiet, whole, format := false, false, false, "table"
	v := onContainers{
		usage: psUsage,
		spec:  cli.Spec{Short: "aq", Long: []string{"all", "quiet", "no-trunc", "format="}},
		flag: func(f cli.Flag) error {
			switch f.Name {
			case "a", "all":
				all = true
			case "q", "quiet":
				quiet = true
			case "no-trunc":
				whole = true
			case "format":
				var err error
				format, err = cli.Form(f.Value)
				return err
			}
			return nil
		},
	}
	store, rest, done, err := v.read(args)
	if err != nil || done {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("ps takes no argument; %q was given", rest[0])
	}
	list, err := store.List()
	if err != nil {
		return err
	}
	var lines []psLine
	for i := len(list) - 1; i >= 0; i-- { // the youngest first
		c := list[i]
		st, err := c.State()
		if err != nil || !all && !slices.Contains([]container.Status{container.Running, container.Paused, container.Restarting}, st.Status) {
			continue
		}
		if quiet {
			fmt.Println(shortID(c, whole))
			continue
		}
		lines = append(lines, describe(c, st, whole))
	}
	if quiet {
		return nil
	}
	return cli.PrintList(os.Stdout, format,
		"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
		map[string]string{"ID": "CONTAINER ID", "RunningFor": "CREATED", "CreatedAt": "CREATED AT"}, lines)
}

func shortID(c *container.Container, whole bool) string {
	if whole {
		return c.ID
	}
	return c.Short()
}

// describe fills a line of ps.
func describe(c *container.Container, st *container.State, whole bool) psLine {
	spec := c.Spec()
	command := strings.Join(spec.Process.Args, " ")
	image := spec.Image
	if !whole {
		command, image = shorten(command, 20), shorten(image, 30)
	}
	var ports, labels []string
	for _, p := range spec.Net.Ports {
		ip := p.HostIP
		if ip == "" {
			ip = "0.0.0.0"
		}
		ports = append(ports, fmt.Sprintf("%s:%d->%d/%s", ip, p.Host, p.Container, p.Proto))
	}
	for k, v := range spec.Labels {
		labels = append(labels, k+"="+v)
	}
	return psLine{
		ID: shortID(c, whole), Image: image, Command: strconv.Quote(command),
		CreatedAt: st.Created.Format("2006-01-02 15:04:05 -0700 MST"), RunningFor: ago(st.Created),
		Ports: strings.Join(ports, ", "), State: string(st.Status), Status: status(st),
		Names: st.Name, Labels: strings.Join(labels, ","), Networks: spec.Net.Mode,
	}
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// status says in docker's words where a container is.
func status(st *container.State) string {
	switch st.Status {
	case container.Running:
		return "Up " + span(time.Since(st.Started))
	case container.Paused:
		return "Up " + span(time.Since(st.Started)) + " (Paused)"
	case container.Restarting:
		return fmt.Sprintf("Restarting (%d) %s", st.ExitCode, ago(st.Finished))
	case container.Exited:
		return fmt.Sprintf("Exited (%d) %s", st.ExitCode, ago(st.Finished))
	case container.Dead:
		return "Dead (its monitor was killed)"
	}
	return "Created"
}

func ago(t time.Time) string { return span(time.Since(t)) + " ago" }

// span is a duration in the largest unit that fits.
func span(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"weeks", 7 * 24 * time.Hour}, {"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if d >= 2*u.size {
			return fmt.Sprintf("%d %s", d/u.size, u.name)
		}
	}
	switch n := d / time.Second; n {
	case 0:
		return "Less than a second"
	case 1:
		return "1 second"
	default:
		return fmt.Sprintf("%d seconds", n)
	}
}
