package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const stopUsage = `usage: plyfs stop [-t SECONDS] [--root DIR] CONTAINER…

Asks containers to end by their stop signal (TERM), and kills them when they
haven't after some seconds (10, or what --stop-timeout said).
`

func stopVerb(args []string) error {
	wait := time.Duration(-1)
	return onContainers{
		usage: stopUsage,
		spec:  cli.Spec{Short: "t:", Long: []string{"time="}},
		flag: func(f cli.Flag) error {
			n, err := strconv.Atoi(f.Value)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is not a number of seconds", f.Value)
			}
			wait = time.Duration(n) * time.Second
			return nil
		},
		each: func(c *container.Container, ref string) error { return said(ref, c.Stop(wait)) },
	}.run(args)
}

const renameUsage = `usage: plyfs rename [--root DIR] CONTAINER NAME

Gives a container another name.
`

func renameVerb(args []string) error {
	v := onContainers{usage: renameUsage}
	store, rest, done, err := v.read(args)
	if err != nil || done {
		return err
	}
	if len(rest) != 2 {
		return fmt.Errorf("a container and a name are wanted, and %d given", len(rest))
	}
	c, err := store.Find(rest[0])
	if err != nil {
		return err
	}
	return c.Rename(rest[1])
}

const updateUsage = `usage: plyfs update [FLAG…] CONTAINER…

Changes limits, of running containers at once:

` + limitUsage + `  --root DIR
`

func updateVerb(args []string) error {
	r := new(runRequest)
	limits := limitFlags()
	var spec cli.Spec
	addTo(&spec, limits, ":", "=")
	given := false
	return onContainers{
		usage: updateUsage,
		spec:  spec,
		flag: func(f cli.Flag) error {
			given = true
			return limits[f.Name](r, f.Value)
		},
		each: func(c *container.Container, ref string) error {
			if !given {
				return fmt.Errorf("no limit given; plyfs update -h lists them")
			}
			warnings, err := c.Update(r.spec.Limits)
			tell(warnings)
			return said(ref, err)
		},
	}.run(args)
}
