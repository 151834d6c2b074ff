package main

import (
	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const fsckUsage = `usage: plyfs fsck UPPER

Checks an upper directory that is not mounted: in which dialect its deletions and
owners are written, and what doesn't fit together. Nothing is changed. Exits 1
when there are faults.
`

func fsck(args []string) error {
	spec := cli.Spec{Short: "h", Long: []string{"help"}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, fsckUsage) {
		return nil
	}
	upper, err := cli.One(rest, "upper directory")
	if err != nil {
		return err
	}
	return check(upper)
}

func check(upper string) error { return nil }
