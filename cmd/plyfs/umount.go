package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/fusefs"
)

const umountUsage = `usage: plyfs umount [-l] MOUNTPOINT…

Unmounts what plyfs has mounted, and nothing else, and returns when it is gone.

  -l --lazy   take it out of the tree at once; programs that use it go on until
              they end
  -h          this text
`

func umount(args []string) error {
	spec := cli.Spec{Short: "lh", Long: []string{"lazy", "help"}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, umountUsage) {
		return nil
	}
	if len(rest) == 0 {
		return errors.New("no mount point given")
	}
	var errs []error
	for _, dir := range rest {
		errs = append(errs, unmountOne(dir, len(flags) > 0))
	}
	return errors.Join(errs...)
}

// unmountOne unmounts dir if it is a mount of plyfs, and waits until mount and
// server are gone. A lazy unmount waits for nobody: others may use it on.
func unmountOne(dir string, lazy bool) error {
	m, err := findMount(dir)
	if err != nil {
		return err
	}
	if lazy {
		return detach(m.dir)
	}
	if err := fusefs.Unmount(m.dir); err != nil {
		return err
	}
	awaitServer(m)
	return nil
}

// findMount gives the plyfs mount on dir. It doesn't touch dir itself more
// than it has to: where the server is gone, every call fails.
func findMount(dir string) (mountLine, error) {
	mounts, err := readMounts()
	if err != nil {
		return mountLine{}, err
	}
	for _, name := range []func() (string, error){
		func() (string, error) { return filepath.Abs(dir) },
		func() (string, error) {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return "", err
			}
			parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
			return filepath.Join(parent, filepath.Base(abs)), err
		},
		func() (string, error) { return filepath.EvalSymlinks(dir) }, // this asks the mount's server
	} {
		c, err := name()
		if err != nil {
			continue
		}
		if c, err = filepath.Abs(c); err != nil {
			continue
		}
		m, ok := mounts.on(c)
		switch {
		case !ok:
		case m.fsType != fsType:
			return m, fmt.Errorf("%s is a mount of type %s, not of plyfs: use umount(8)", dir, m.fsType)
		default:
			return m, nil
		}
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return mountLine{}, fmt.Errorf("%s does not exist", dir)
	}
	return mountLine{}, fmt.Errorf("nothing is mounted on %s", dir)
}

// detach takes a mount out of the tree even when it is in use.
func detach(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if !errors.Is(err, unix.EPERM) {
		if err != nil {
			err = fmt.Errorf("cannot unmount %s: %w", dir, err)
		}
		return err
	}
	out, err := exec.Command("fusermount3", "-u", "-z", "--", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot unmount %s: %w: %s", dir, err, firstLine(out))
	}
	return nil
}
