package main

import (
	"fmt"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const inspectUsage = `usage: plyfs inspect [-f TEMPLATE] [--root DIR] CONTAINER…

Prints all that is known of containers as a JSON array, or what a template
(of Go's text/template) takes of it.

  -f --format FORMAT  json, or a template
  -q --quiet          ids only
`

// inspected is a container as inspect shows it.
type inspected struct {
	ID     string
	Name   string
	Dir    string
	State  *container.State
	Config *container.Spec
}

func inspectVerb(args []string) error {
	format := cli.FormJSON
	var all []inspected
	err := onContainers{
		usage: inspectUsage,
		spec:  cli.Spec{Short: "f:", Long: []string{"format="}},
		flag:  func(f cli.Flag) (err error) { format, err = cli.Form(f.Value); return err },
		each: func(c *container.Container, _ string) error {
			st, err := c.State()
			if err == nil {
				all = append(all, inspected{c.ID, st.Name, c.Dir(), st, c.Spec()})
			}
			return err
		},
	}.run(args)
	if err != nil || all == nil {
		return err
	}
	if cli.Quiet() {
		for _, i := range all {
			fmt.Println(i.ID)
		}
		return nil
	}
	if cli.IsTemplate(format) {
		return cli.PrintList(os.Stdout, format, "", nil, all)
	}
	if err := cli.PrintJSON(os.Stdout, all); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}
