package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/imageverbs"
)

// helper is the program for images: what it links has no place in the start of
// a container.
const helper = "plyfs-image"

// findHelper looks beside this program, then where programs are.
func findHelper() (string, error) {
	if self, err := os.Readlink("/proc/self/exe"); err == nil {
		beside := filepath.Join(filepath.Dir(self), helper)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	if file, err := exec.LookPath(helper); err == nil {
		return file, nil
	}
	return "", fmt.Errorf("%s, the part of plyfs for images, is neither beside plyfs nor in PATH: install it, too", helper)
}

// withImages is a verb that the helper does, in place of this process.
func withImages(name string) func(args []string) error {
	return func(args []string) error {
		v := imageverbs.Of(name)
		flags, _, err := v.Spec.Getopt(args, nil)
		if err != nil {
			return err
		}
		if wantsHelp(flags, v.Usage) {
			return nil
		}
		for _, f := range flags {
			if f.Name == "format" && name != "save" { // what save writes has no rows
				if _, err := cli.Form(f.Value); err != nil {
					return err
				}
			}
		}
		file, err := findHelper()
		if err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", file, syscall.Exec(file, append([]string{helper, name}, args...), os.Environ()))
	}
}

// callHelper has the helper do something on the way; what it prints goes to
// standard error.
func callHelper(args ...string) error {
	file, err := findHelper()
	if err != nil {
		return err
	}
	cmd := exec.Command(file, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	var ended *exec.ExitError
	if err := cmd.Run(); errors.As(err, &ended) {
		return cli.Silent(cli.ExitNotRun) // it has said why
	} else if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
