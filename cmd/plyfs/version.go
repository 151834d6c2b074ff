package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const versionUsage = `usage: plyfs version [-q] [--format table|json|TEMPLATE]

Prints the version of plyfs and of the Go toolchain that built it.

  -q --quiet       the number alone
  --format FORMAT  table, json, or a template with .Version, .Go, .OS and .Arch
  -h               this text
`

// versionLine is the version for programs.
type versionLine struct{ Version, Go, OS, Arch string }

func version(args []string) error {
	flags, rest, err := cli.Spec{Short: "hq", Long: []string{"help", "quiet", "format="}}.Getopt(args, nil)
	switch {
	case err != nil:
		return err
	case wantsHelp(flags, versionUsage):
		return nil
	case len(rest) > 0:
		return fmt.Errorf("plyfs version takes no argument, and got %s", rest[0])
	}
	form, err := cli.Form(lastValue(flags, "format"))
	if err != nil {
		return err
	}
	for _, f := range flags {
		if f.Name == "q" || f.Name == "quiet" {
			form = "{{.Version}}"
		}
	}
	return cli.PrintList(os.Stdout, form, "plyfs version {{.Version}} ({{.Go}}, {{.OS}}/{{.Arch}})", nil,
		[]versionLine{{cli.VersionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH}})
}
