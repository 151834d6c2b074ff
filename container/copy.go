package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/tarcopy"
)

// CopyOut writes what lies at path in a container to w as tar.
func (c *Container) CopyOut(path string, w *os.File) error {
	return c.copy(jobPack, path, IO{Stdout: w})
}

// CopyIn puts a tar stream at path in a container.
func (c *Container) CopyIn(path string, r *os.File) error {
	return c.copy(jobUnpack, path, IO{Stdin: r})
}

// Sync has a running container write what its programs hold in memory of its
// root: who isn't in its user namespace can't ask for it.
func (c *Container) Sync() error { return c.copy(jobSync, "/", IO{}) }

// The jobs of copy.
const (
	jobSync   = "sync"
	jobPack   = "pack"
	jobUnpack = "unpack"
)

// copy runs the container's side of a copy in the container, as its root but
// with no program of its.
func (c *Container) copy(direction, path string, stdio IO) error {
	st, err := c.State()
	if err != nil {
		return err
	}
	job := []string{direction, path}
	if st.Status != Running && st.Status != Paused {
		if direction == jobSync {
			return nil // its server has written all
		}
		said, err := c.aside(job, stdio)
		if errors.Is(err, errJob) {
			err = errors.New(said)
		}
		return err
	}
	end, ours, err := pipeOf(&stdio.Stderr)
	if err != nil {
		return err
	}
	e, peer, err := c.enter(st, job, "copy", stdio)
	end.Close()
	if err != nil {
		ours.Close()
		return err
	}
	peer.close()
	said := readAll(ours)
	if e.Wait() != 0 {
		return errors.New(strings.TrimPrefix(said, "plyfs: copy: "))
	}
	return nil
}

// pipeOf makes *to the writing end of a new pipe.
func pipeOf(to **os.File) (end, ours *os.File, err error) {
	ours, end, err = os.Pipe()
	*to = end
	return end, ours, err
}

// readAll reads what somebody says to the end, and closes it.
func readAll(f *os.File) string {
	defer f.Close()
	text, _ := io.ReadAll(f)
	return strings.TrimSpace(string(text))
}

// runCopy is that side.
func runCopy(Opener) error {
	unix.CloseOnExec(fdPeer)
	var job []string
	if err := readOrderInto(&job); err != nil {
		return err
	}
	return runJob(job)
}

// runJob does a job in the root of this process.
func runJob(job []string) error {
	if len(job) != 2 || jobs[job[0]] == nil {
		return errors.New("this role is for plyfs itself")
	}
	unix.Umask(0)
	return jobs[job[0]](job[1])
}

func syncJob(string) error {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Syncfs(fd)
}

func packJob(path string) error {
	root, err := ownRoot()
	if err != nil {
		return err
	}
	return tarcopy.Pack(os.Stdout, root, path)
}

func unpackJob(path string) error {
	root, err := ownRoot()
	if err != nil {
		return err
	}
	if err := tarcopy.Unpack(os.Stdin, root, path); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	return nil
}

func ownRoot() (int, error) {
	return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
