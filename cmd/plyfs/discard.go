package main

import (
	"errors"
	"fmt"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const discardUsage = `usage: plyfs discard SANDBOX…

Deletes sandboxes (plyfs try) with all that was changed in them, and their
checkpoints. The host stays as it is.

  --root DIR  data directory
  -h          this text
`

func discard(args []string) error {
	spec := cli.Spec{Short: "h", Long: []string{"help", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, discardUsage) {
		return nil
	}
	root := lastValue(flags, "root")
	if len(rest) == 0 {
		return fmt.Errorf("no sandbox given; plyfs ps -a lists them")
	}
	var errs []error
	for _, ref := range rest {
		errs = append(errs, locked(root, []string{ref}, (*box).discard))
	}
	return errors.Join(errs...)
}

// discard deletes a sandbox, and first what a commit that was killed has left on
// the host.
func (b *box) discard() error {
	if v, done, err := b.view(); err == nil { // one that can't be looked at can be deleted
		err := v.Recover()
		done()
		if err != nil {
			return err
		}
	}
	return b.c.Remove(false)
}

// lastValue is the value of a flag that may be given once.
func lastValue(flags []cli.Flag, name string) (value string) {
	for _, f := range flags {
		if f.Name == name {
			value = f.Value
		}
	}
	return value
}
