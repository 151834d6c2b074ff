package main

import (
	"errors"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// openStore opens the store that --root names, or the user's own.
func openStore(root string) (*container.Store, error) {
	if root == "" {
		var err error
		if root, err = container.DefaultRoot(); err != nil {
			return nil, err
		}
	}
	return container.OpenStore(root)
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
