package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const logsUsage = `usage: plyfs logs [FLAG…] CONTAINER

Prints what a container in the background has written, to standard output and
standard error as it did.

  -f, --follow       go on until it ends
  -n, --tail N       only the last lines
  --since TIME       not what is older: 2006-01-02T15:04:05Z, or 10m for ten
                     minutes ago
  -t, --timestamps   with the time of each line
  --root DIR
`

func logsVerb(args []string) error {
	o := container.LogOptions{Tail: -1}
	times := false
	return onContainers{
		usage: logsUsage,
		spec:  cli.Spec{Short: "fn:t", Long: []string{"follow", "tail=", "since=", "timestamps"}},
		flag: func(f cli.Flag) (err error) {
			switch f.Name {
			case "f", "follow":
				o.Follow = true
			case "t", "timestamps":
				times = true
			case "since":
				o.Since, err = parseSince(f.Value)
			default:
				if f.Value == "all" {
					break
				}
				if o.Tail, err = strconv.Atoi(f.Value); err != nil || o.Tail < 0 {
					return fmt.Errorf("%q is not a number of lines", f.Value)
				}
			}
			return err
		},
		one: true,
		each: func(c *container.Container, _ string) error {
			return c.Logs(o, func(l container.LogLine) error {
				to := os.Stdout
				if l.Stream == "stderr" {
					to = os.Stderr
				}
				if times {
					if _, err := fmt.Fprint(to, l.Time.Format(time.RFC3339Nano), " "); err != nil {
						return err
					}
				}
				_, err := fmt.Fprint(to, l.Text)
				return err
			})
		},
	}.run(args)
}

// parseSince reads a time, or how long ago it was.
func parseSince(v string) (time.Time, error) {
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, v, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time like 2006-01-02T15:04:05Z nor a duration like 10m", v)
}
