package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
)

const diffUsage = `usage: plyfs diff [--stat|--name-only|--patch|--format json] SANDBOX [PATH…]

Says what a sandbox (plyfs try) has changed against the host as it is now, at and
below the paths if there are some: A added, C changed, D deleted, T replaced by
another type. A line says as well what the host has changed meanwhile.

  --stat           lines added and removed, file by file
  --name-only      paths alone
  -p --patch       a patch in git's form
  --format FORMAT  text, or json
  --root DIR       data directory
  -h               this text
`

// diffReport is the result of diff as JSON.
type diffReport struct {
	Sandbox string           `json:"sandbox"`
	Changes []sandbox.Change `json:"changes"`
	Totals  sandbox.Totals   `json:"totals"`
	// Closed are directories that were shown empty in the sandbox.
	Closed []string `json:"closed,omitempty"`
}

func diff(args []string) error {
	spec := cli.Spec{Short: "hp", Long: []string{"help", "stat", "name-only", "patch", "format=", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, diffUsage) {
		return nil
	}
	form, root, forms := "text", "", 0
	for _, f := range flags {
		switch f.Name {
		case "root":
			root = f.Value
			continue
		case "p":
			form = "patch"
		case "format":
			if form = f.Value; form != "text" && form != "json" {
				return fmt.Errorf("unknown format %q: text and json are there", form)
			}
		default:
			form = f.Name
		}
		forms++
	}
	if forms > 1 {
		return fmt.Errorf("--stat, --name-only, --patch and --format exclude each other")
	}
	return withBox(root, rest, func(b *box) error { return b.diff(form, rest[1:]) })
}

// diff prints the changes of a sandbox, also of one that runs.
func (b *box) diff(form string, paths []string) error {
	l, err := sandbox.Lock(b.c.Dir())
	if errors.Is(err, sandbox.ErrInUse) {
		err = b.sync()
	}
	if err != nil {
		return err
	}
	if l != nil {
		defer l.Close()
	}
	v, done, err := b.view()
	if err != nil {
		return err
	}
	defer done()
	changes, err := v.Changes(true)
	if err != nil {
		return err
	}
	if changes, err = sandbox.Select(changes, paths); err != nil {
		return err
	}
	switch form {
	case "json":
		rep := diffReport{b.name, changes, sandbox.Count(changes), sandbox.Closed(b.c.Dir())}
		if changes == nil {
			rep.Changes = []sandbox.Change{}
		}
		return cli.PrintJSON(os.Stdout, rep)
	case "name-only":
		for i := range changes {
			fmt.Println(sandbox.Quote(changes[i].Path))
		}
	case "stat":
		v.Stat(os.Stdout, changes)
	case "patch":
		return v.Patch(os.Stdout, changes)
	default:
		for i := range changes {
			fmt.Println(changes[i].Line())
		}
	}
	return nil
}

// sync has a running sandbox write what it holds in memory.
func (b *box) sync() error {
	st, err := b.c.State()
	if err != nil {
		return err
	}
	if st.Status != container.Running && st.Status != container.Paused {
		return nil // it is being started, or has just ended
	}
	if st.Status == container.Paused {
		return nil // nobody in it can be asked; and nobody writes
	}
	if err := b.c.Sync(); err != nil {
		// What is on disk is shown all the same: only what was written through
		// shared mappings can be missing.
		tell([]string{fmt.Sprintf("sandbox %s could not be synced, what is written through shared mappings in it may be missing: %v", b.name, err)})
	}
	return nil
}
