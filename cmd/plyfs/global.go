package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

// globals are flags before the verb: each stands for an environment variable.
var globals = map[string]string{"root": "PLYFS_ROOT", "config": "PLYFS_CONFIG"}

// globalFlags takes them off a command line. A verb's own --root wins, because
// it comes later.
func globalFlags(argv []string) ([]string, error) {
	spec := cli.Spec{Leading: true, Plain: true, Long: []string{"root=", "config=", "state="}}
	for len(argv) > 1 {
		n := spec.Takes(argv[1:])
		if n == 0 {
			break
		}
		flags, _, err := spec.Getopt(argv[1:1+n], nil)
		if err != nil {
			return nil, err
		}
		f := flags[0]
		name, ok := globals[f.Name]
		switch {
		case !ok:
			return nil, fmt.Errorf("--%s: containers keep their state beside their data; --root names the directory of both", f.Name)
		case f.Value == "":
			return nil, fmt.Errorf("--%s: the value is empty", f.Name)
		}
		if err := os.Setenv(name, f.Value); err != nil {
			return nil, fmt.Errorf("--%s: %w", f.Name, err)
		}
		argv = append([]string{argv[0]}, slices.Clone(argv[1+n:])...)
	}
	return argv, nil
}
