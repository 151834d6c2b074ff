package main

import (
	"fmt"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const configUsage = `usage: plyfs config default

Prints the default configuration, which names the file that it can be put in.

  -h   this text
`

func config(args []string) error {
	flags, rest, err := cli.Spec{Short: "h", Long: []string{"help"}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, configUsage) {
		return nil
	}
	if len(rest) != 1 || rest[0] != "default" {
		return fmt.Errorf("plyfs config default is what there is")
	}
	fmt.Print(cli.DefaultConfig)
	return nil
}
