package container

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/tarcopy"
)

// CopyOut writes what lies at path in a running container to w as tar.
func (c *Container) CopyOut(path string, w *os.File) error {
	return c.copy("pack", path, IO{Stdout: w})
}

// CopyIn puts a tar stream at path in a running container.
func (c *Container) CopyIn(path string, r *os.File) error {
	return c.copy("unpack", path, IO{Stdin: r})
}

// Sync has a running container write what its programs hold in memory of its
// root: who isn't in its user namespace can't ask for it.
func (c *Container) Sync() error { return c.copy("sync", "/", IO{}) }

// copy runs the container's side of a copy in the container, as its root but
// with no program of its.
func (c *Container) copy(direction, path string, stdio IO) error {
	st, err := c.running()
	if err != nil {
		return err
	}
	said, saidEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	stdio.Stderr = saidEnd
	e, peer, err := c.enter(st, []string{direction, path}, "copy", stdio)
	saidEnd.Close()
	if err != nil {
		return err
	}
	peer.close()
	var text strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := said.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if e.Wait() != 0 {
		return errors.New(strings.TrimSpace(strings.TrimPrefix(text.String(), "plyfs: copy: ")))
	}
	return nil
}

// runCopy is that side.
func runCopy(Opener) error {
	unix.CloseOnExec(fdPeer)
	var args []string
	if err := readOrderInto(&args); err != nil {
		return err
	}
	if len(args) != 2 {
		return errors.New("this role is for plyfs itself")
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.Umask(0)
	switch args[0] {
	case "sync":
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Syncfs(fd)
	case "pack":
		return tarcopy.Pack(os.Stdout, root, args[1])
	}
	if err := tarcopy.Unpack(os.Stdin, root, args[1]); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	return nil
}
