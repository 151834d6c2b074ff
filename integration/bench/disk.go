package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freshDisk mounts a new ext4 on dir/disk, in a sparse file: what was deleted
// on the machine's own file system before has no say then. The caller unmounts.
func freshDisk(dir string) (unmount func(), err error) {
	const size = 32 << 30
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	for _, cmd := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-N", "4000000", "-E", "nodiscard", image},
		{"mount", "-o", "loop", image, mnt},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", cmd[0], err, out)
		}
	}
	return func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) }, nil
}
