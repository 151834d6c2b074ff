package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/keeper"
)

const upgradeUsage = `usage: plyfs upgrade MOUNTPOINT…
       plyfs upgrade --all

Hands mounts of "plyfs mount" to this program: a server that runs is replaced by
one of the version that you call. Programs in the mount see a short pause. When
this version can't go on with what the old one has left, it says so and the old
one stays.

  -a --all     all mounts that have a keeper and are yours
  -h           this text
`

func upgrade(args []string) error {
	spec := cli.Spec{Short: "ah", Long: []string{"all", "help"}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, upgradeUsage) {
		return nil
	}
	exe, err := os.Open(selfExe)
	if err != nil {
		return fmt.Errorf("cannot read this program: %w", err)
	}
	defer exe.Close()
	one := func(m mountLine) error {
		if err := keeper.Upgrade(m.dev, int(exe.Fd())); err != nil {
			return fmt.Errorf("mount on %s: %w", m.dir, err)
		}
		return nil
	}
	if len(flags) > 0 {
		if len(rest) > 0 {
			return errors.New("--all needs no mount point")
		}
		return upgradeAll(one)
	}
	if len(rest) == 0 {
		return errors.New("no mount point given; --all is for all mounts")
	}
	var errs []error
	for _, dir := range rest {
		m, err := findMount(dir)
		if err == nil {
			err = one(m)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// upgradeAll upgrades every mount that has a keeper once, wherever else it is
// bound to.
func upgradeAll(one func(mountLine) error) error {
	table, err := readMounts()
	if err != nil {
		return err
	}
	var errs []error
	done := map[string]bool{}
	for _, m := range table {
		if m.fsType != fsType || done[m.dev] {
			continue
		}
		done[m.dev] = true
		if err := one(m); !errors.Is(err, keeper.ErrNoKeeper) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
