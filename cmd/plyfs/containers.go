package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// openStore opens the store that --root names, else PLYFS_ROOT, else the
// configuration; or the user's own.
func openStore(root string) (*container.Store, error) {
	root, err := dataDir(root)
	if err != nil {
		return nil, err
	}
	return container.OpenStore(root)
}

// dataDir is where that is.
func dataDir(root string) (_ string, err error) {
	if root == "" && os.Getenv("PLYFS_ROOT") == "" {
		if root, err = cli.ConfiguredRoot(); err != nil {
			return "", err
		}
	}
	if root == "" {
		return container.DefaultRoot()
	}
	return filepath.Abs(root) // monitors work elsewhere
}

// runError gives an error the exit code that run and exec have for it.
func runError(err error) error {
	var start *container.StartError
	if errors.As(err, &start) {
		return cli.WithCode(start.Code, err)
	}
	return cli.WithCode(cli.ExitNotRun, err)
}

// isTerminal says whether f is one.
func isTerminal(f *os.File) bool { return cli.IsTerminal(f) }

// onContainers is a verb whose arguments are containers.
type onContainers struct {
	usage string
	spec  cli.Spec
	// flag takes one flag beside --root and -h.
	flag func(f cli.Flag) error
	// each handles one container and may print its reference.
	each func(c *container.Container, ref string) error
	// damaged handles one whose files can't be read, when it may be given.
	damaged func(s *container.Store, d *container.DamagedError) error
	// one says that a single container is wanted.
	one bool
	// mounts, if set, says that the words name no container: no store is needed.
	mounts func(words []string) bool
}

// run handles every container, also after one that failed: the exit code is
// that of a failure then.
func (v onContainers) run(args []string) error {
	store, rest, done, err := v.read(args)
	if err != nil || done {
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("no container given")
	}
	if v.one && len(rest) > 1 {
		return fmt.Errorf("one container is wanted, and %d are given", len(rest))
	}
	var errs []error
	for _, ref := range rest {
		c, err := store.Find(ref)
		var damaged *container.DamagedError
		switch {
		case err == nil:
			err = v.each(c, ref)
		case v.damaged != nil && errors.As(err, &damaged):
			err = said(ref, v.damaged(store, damaged))
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	}
	return cli.Silent(cli.ExitFailure)
}

// read reads the flags; done says that help was printed.
func (v onContainers) read(args []string) (store *container.Store, rest []string, done bool, err error) {
	v.spec.Short += "h"
	v.spec.Long = append(v.spec.Long, "root=", "help")
	flags, rest, err := v.spec.Getopt(args, nil)
	if err != nil {
		return nil, nil, false, err
	}
	if wantsHelp(flags, v.usage) {
		return nil, nil, true, nil
	}
	root := ""
	for _, f := range flags {
		if f.Name == "root" {
			root = f.Value
		} else if err := v.flag(f); err != nil {
			return nil, nil, false, fmt.Errorf("%s: %w", dashes(f.Name), err)
		}
	}
	if v.mounts != nil && v.mounts(rest) {
		return nil, rest, false, nil
	}
	store, err = openStore(root)
	return store, rest, false, err
}

// said prints the reference of a container when all went well.
func said(ref string, err error) error {
	if err == nil && !cli.Quiet() {
		fmt.Println(ref)
	}
	return err
}

const killUsage = `usage: plyfs kill [-s SIGNAL] [--root DIR] CONTAINER…

Sends a signal (KILL) to the first process of the containers.
`

func killVerb(args []string) error {
	sig := unix.SIGKILL
	return onContainers{
		usage: killUsage,
		spec:  cli.Spec{Short: "s:", Long: []string{"signal="}},
		flag: func(f cli.Flag) (err error) {
			sig, err = container.ParseSignal(f.Value)
			return err
		},
		each: func(c *container.Container, ref string) error { return said(ref, c.Kill(sig)) },
	}.run(args)
}

const rmUsage = `usage: plyfs rm [-f] [--root DIR] CONTAINER…

Deletes containers and all that was written in them.

  -f, --force   kill those that run; one that isn't there is no error
`

func rmVerb(args []string) error {
	force := false
	v := onContainers{
		usage: rmUsage,
		spec:  cli.Spec{Short: "f", Long: []string{"force"}},
		flag:  func(cli.Flag) error { force = true; return nil },
		each:  func(c *container.Container, ref string) error { return said(ref, c.Remove(force)) },
	}
	v.damaged = func(s *container.Store, d *container.DamagedError) error {
		if !force {
			return d
		}
		return s.RemoveDamaged(d.ID)
	}
	err := v.run(args)
	if force && errors.Is(err, container.ErrNotFound) {
		return nil
	}
	return err
}

const waitUsage = `usage: plyfs wait [--root DIR] CONTAINER…

Waits for the end of the containers and prints their exit codes.
`

func waitVerb(args []string) error {
	return onContainers{
		usage: waitUsage,
		each: func(c *container.Container, _ string) error {
			code, err := c.Wait()
			if err == nil {
				fmt.Println(code)
			}
			return err
		},
	}.run(args)
}

const pauseUsage = `usage: plyfs pause [--root DIR] CONTAINER…

Stops all processes of the containers until plyfs unpause.
`

const unpauseUsage = `usage: plyfs unpause [--root DIR] CONTAINER…

Lets the processes of paused containers go on.
`

func pauseVerb(args []string) error   { return freeze(args, pauseUsage, true) }
func unpauseVerb(args []string) error { return freeze(args, unpauseUsage, false) }

func freeze(args []string, usage string, stop bool) error {
	return onContainers{
		usage: usage,
		each:  func(c *container.Container, ref string) error { return said(ref, c.Pause(stop)) },
	}.run(args)
}
