package main

import (
	"fmt"
	"os"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/sandbox"
)

const checkpointUsage = `usage: plyfs checkpoint SANDBOX [LABEL]
       plyfs checkpoint -l [-q] [--format FORMAT] SANDBOX

Keeps the state of a sandbox (plyfs try) that nothing runs in, under a label or the
next number, and prints that. plyfs rollback goes back to it.

  -l --list        list the checkpoints, the oldest first
  -q --quiet       labels alone
  --format FORMAT  of the list: table, json or a template
  --root DIR       data directory
  -h               this text
`

const rollbackUsage = `usage: plyfs rollback SANDBOX [LABEL]

Makes a sandbox what it was at a checkpoint, the last one if none is named. What was
changed in it later is lost; the checkpoint stays.

  --root DIR  data directory
  -h          this text
`

func checkpoint(args []string) error {
	spec := cli.Spec{Short: "hlq", Long: []string{"help", "list", "quiet", "format=", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, checkpointUsage) {
		return nil
	}
	list, format := false, lastValue(flags, "format")
	form, err := cli.Form(format)
	if err != nil {
		return err
	}
	for _, f := range flags {
		list = list || f.Name == "l" || f.Name == "list"
		if f.Name == "q" || f.Name == "quiet" {
			form = "{{.Label}}"
		}
	}
	if format != "" && !list {
		return fmt.Errorf("--format is for the list: add -l")
	}
	if list {
		return withBox(lastValue(flags, "root"), rest, func(b *box) error { return b.listCheckpoints(form) })
	}
	return labelled(flags, rest, func(b *box, label string) error {
		c, err := sandbox.MakeCheckpoint(b.c.Dir(), label)
		if err == nil {
			fmt.Println(c.Label)
		}
		return err
	})
}

func rollback(args []string) error {
	spec := cli.Spec{Short: "h", Long: []string{"help", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, rollbackUsage) {
		return nil
	}
	return labelled(flags, rest, func(b *box, label string) error {
		c, err := sandbox.Rollback(b.c.Dir(), label)
		if err == nil {
			fmt.Println(c.Label)
		}
		return err
	})
}

// labelled runs fn with the locked sandbox and the label on a command line.
func labelled(flags []cli.Flag, rest []string, fn func(b *box, label string) error) error {
	label := ""
	if len(rest) > 2 {
		return fmt.Errorf("a sandbox and a label are wanted, and %d words are given", len(rest))
	}
	if len(rest) == 2 {
		label = rest[1]
		if err := sandbox.CheckLabel(label); err != nil {
			return fmt.Errorf("%w", err)
		}
	}
	return locked(lastValue(flags, "root"), rest, func(b *box) error {
		if err := fn(b, label); err != nil {
			return fmt.Errorf("sandbox %s: %w", b.name, err)
		}
		return nil
	})
}

func (b *box) listCheckpoints(format string) error {
	list, err := sandbox.Checkpoints(b.c.Dir())
	if err != nil {
		return err
	}
	if format == "json" {
		if list == nil {
			list = []sandbox.Checkpoint{}
		}
		return cli.PrintJSON(os.Stdout, list)
	}
	if cli.IsTemplate(format) {
		return cli.PrintList(os.Stdout, format, "", nil, list)
	}
	for _, c := range list {
		fmt.Printf("%-20s %s\n", c.Label, c.Made.Local().Format(time.DateTime))
	}
	return nil
}
