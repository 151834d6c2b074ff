package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
)

const diffUsage = `usage: plyfs diff [FLAG…] SANDBOX|CONTAINER [PATH…]
       plyfs diff [FLAG…] [--lower DIR…] DIRECTORY [PATH…]

Says what was changed, at and below the paths if there are some: A added, C
changed, D deleted, T replaced by another type. Of a sandbox (plyfs try) that is
against the host as it is now, and a line says as well what the host has changed
meanwhile; of a container (plyfs run) against its layers; of an upper directory
(./upper, with a slash where a container has that name) against the layers that
it lies over, and where they aren't given, by what the upper alone can tell.

  --lower DIR      a layer below DIRECTORY, the first on top
  --stat           lines added and removed, file by file
  -q --name-only   paths alone
  -p --patch       a patch in git's form
  --watch          go on with what changes, as it does, until the sandbox or the
                   container ends, or ^C: U is a change that is none any more.
                   Of a file that changes again, that its size does
  --format FORMAT  table, json, or a template for each change
  --root DIR       data directory
  -h               this text
`

// diffReport is the result of diff as JSON.
type diffReport struct {
	Sandbox   string           `json:"sandbox,omitempty"` // one of the three is there
	Container string           `json:"container,omitempty"`
	Directory string           `json:"directory,omitempty"`
	Changes   []sandbox.Change `json:"changes"`
	Totals    sandbox.Totals   `json:"totals"`
	// Closed are directories that were shown empty in the sandbox.
	Closed []string `json:"closed,omitempty"`
}

func diff(args []string) error {
	spec := cli.Spec{Short: "hpq", Long: []string{"help", "quiet", "stat", "name-only", "patch", "watch", "format=", "root=", "lower="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, diffUsage) {
		return nil
	}
	form, root, forms, watching := cli.FormTable, "", 0, false
	var lower []string
	for _, f := range flags {
		switch f.Name {
		case "root":
			root = f.Value
			continue
		case "watch":
			watching = true
			continue
		case "lower":
			lower = append(lower, f.Value)
			continue
		case "p":
			form = "patch"
		case "q", "quiet":
			form = "name-only"
		case "format":
			if form, err = cli.Form(f.Value); err != nil {
				return err
			}
		default:
			form = f.Name
		}
		forms++
	}
	if forms > 1 {
		return fmt.Errorf("--stat, --name-only, --patch and --format exclude each other")
	}
	if len(rest) == 0 {
		return fmt.Errorf("no sandbox, container or directory given; plyfs ps -a lists the first two")
	}
	c, err := diffed(root, rest[0])
	if err == nil && watching {
		if form == "stat" || form == "patch" {
			return fmt.Errorf("--watch has no --%s", form)
		}
		return watchDiff(form, c, sameDiff(root, lower, rest))
	}
	switch {
	case err != nil:
		return err
	case c == nil:
		return diffDirectory(form, rest[0], lower, rest[1:])
	case len(lower) > 0:
		return fmt.Errorf("--lower is for a directory, and %s is a container: write ./%s for a directory of that name", rest[0], rest[0])
	case c.Spec().Labels[tryLabel] == "":
		return diffContainer(form, c, rest[1:])
	}
	b, err := newBox(c)
	if err != nil {
		return err
	}
	return b.diff(form, rest[1:])
}

// diffed finds what is to be compared; nil is a directory.
func diffed(root, ref string) (*container.Container, error) {
	if strings.Contains(ref, "/") || ref == "." || ref == ".." {
		return nil, nil
	}
	store, err := openStore(root)
	if err != nil {
		return nil, err
	}
	c, err := store.Find(ref)
	if errors.Is(err, container.ErrNotFound) {
		if info, e := os.Stat(ref); e == nil && info.IsDir() {
			return nil, nil
		}
	}
	return c, err
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
	return printDiff(v, changes, form, diffReport{Sandbox: b.name, Closed: sandbox.Closed(b.c.Dir())})
}

// printDiff prints changes in one of the forms.
func printDiff(v *sandbox.View, changes []sandbox.Change, form string, rep diffReport) error {
	switch form {
	case "json":
		rep.Changes, rep.Totals = changes, sandbox.Count(changes)
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
	case cli.FormTable:
		for i := range changes {
			fmt.Println(changes[i].Line())
		}
	default:
		return cli.PrintList(os.Stdout, form, "", nil, changes)
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
