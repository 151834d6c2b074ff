package main

import (
	"fmt"
	"runtime"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const versionUsage = `usage: plyfs version

Prints the version of plyfs and of the Go toolchain that built it.
`

func version(args []string) error {
	flags, rest, err := cli.Spec{Short: "h", Long: []string{"help"}}.Getopt(args, nil)
	switch {
	case err != nil:
		return err
	case wantsHelp(flags, versionUsage):
		return nil
	case len(rest) > 0:
		return fmt.Errorf("plyfs version takes no argument, and got %s", rest[0])
	}
	fmt.Printf("plyfs version %s (%s, %s/%s)\n", cli.VersionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
