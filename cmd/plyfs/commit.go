package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/sandbox"
)

const commitUsage = `usage: plyfs commit --to-host [--force] [-q] SANDBOX [PATH…]
       plyfs commit [FLAG…] CONTAINER [IMAGE]    (plyfs-image commit -h says more)

Puts what a sandbox (plyfs try) has changed on the host: all of it, or what is at
and below the paths. A file appears complete or not at all. Nothing is done when the
host has changed one of the paths since the sandbox saw it. The sandbox stays.

  --to-host    the host is where it goes
  -f --force   go over what the host has changed
  -q --quiet   don't list what is done
  --root DIR   data directory
  -h           this text

With the name of a container it makes an image of what that has changed.
`

func commit(args []string) error {
	if !slices.Contains(args, "--to-host") && len(args) > 0 && !slices.Contains(args, "-h") && !slices.Contains(args, "--help") {
		return withImages("commit")(args)
	}
	spec := cli.Spec{Short: "hfq", Long: []string{"help", "to-host", "force", "quiet", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, commitUsage) {
		return nil
	}
	root, toHost, force, quiet := "", false, false, false
	for _, f := range flags {
		switch f.Name {
		case "to-host":
			toHost = true
		case "f", "force":
			force = true
		case "q", "quiet":
			quiet = true
		case "root":
			root = f.Value
		}
	}
	if !toHost {
		return fmt.Errorf("where to? --to-host puts a sandbox's changes on the host; with the name of a container it makes an image")
	}
	return locked(root, rest, func(b *box) error {
		_, err := b.commit(rest[1:], force, quiet)
		return err
	})
}

// commit puts changes on the host and prints what it does; all says that none
// stayed behind. Precondition: the sandbox is locked.
func (b *box) commit(paths []string, force, quiet bool) (all bool, err error) {
	v, done, err := b.view()
	if err != nil {
		return false, err
	}
	defer done()
	if err := v.Recover(); err != nil {
		return false, err
	}
	changes, err := v.Changes(true)
	if err != nil {
		return false, err
	}
	if changes, err = sandbox.Select(changes, paths); err != nil {
		return false, err
	}
	res, err := v.Apply(changes, force)
	var conflict *sandbox.ConflictError
	if errors.As(err, &conflict) {
		for i := range conflict.Changes {
			fmt.Fprintln(os.Stderr, conflict.Changes[i].Line())
		}
		return false, fmt.Errorf("nothing was changed: %d of the paths in conflict; commit others, or add --force", len(conflict.Changes))
	}
	if err != nil {
		return false, err
	}
	if !quiet {
		for _, p := range res.Done {
			fmt.Println(sandbox.Quote(p))
		}
	}
	for i := range res.Kept {
		fmt.Fprintln(os.Stderr, res.Kept[i].Line())
	}
	for _, err := range res.Failed {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	}
	if n := len(res.Failed); n > 0 {
		return false, fmt.Errorf("%d of %d changes could not be put on the host; they stay in the sandbox %s%s", n, len(changes)-len(res.Kept), b.name, b.asRoot(res.Failed))
	}
	return len(res.Kept) == 0, nil
}

// asRoot says how root can do what the user may not.
func (b *box) asRoot(failed []error) string {
	denied := func(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }
	if os.Geteuid() == 0 || !slices.ContainsFunc(failed, denied) {
		return ""
	}
	root := filepath.Dir(filepath.Dir(b.c.Dir()))
	return fmt.Sprintf("; root may do it: sudo %s --root %s commit --to-host %s", program, root, b.name)
}
