package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/tarcopy"
)

const cpUsage = `usage: plyfs cp [--root DIR] CONTAINER:PATH DIR|FILE|-
       plyfs cp [--root DIR] DIR|FILE|- CONTAINER:PATH

Copies a file or a tree from or to a container, also one that doesn't run: into
the target when that is a directory, else under its name. Owners are not copied;
- is a tar stream.
`

func cpVerb(args []string) error {
	v := onContainers{usage: cpUsage}
	store, rest, done, err := v.read(args)
	if err != nil || done {
		return err
	}
	if len(rest) != 2 {
		return fmt.Errorf("a source and a target are wanted, and %d given", len(rest))
	}
	from, fromPath, out := insideOf(rest[0])
	to, toPath, in := insideOf(rest[1])
	switch {
	case out && in:
		return fmt.Errorf("one of the two is a path of the host")
	case out:
		return withCopied(store, from, func(c *container.Container) error { return copyOut(c, fromPath, rest[1]) })
	case in:
		return withCopied(store, to, func(c *container.Container) error { return copyIn(c, rest[0], toPath) })
	}
	return fmt.Errorf("one of the two must be CONTAINER:PATH")
}

// withCopied finds a container to copy from or to. A sandbox that doesn't run is
// taken meanwhile.
func withCopied(store *container.Store, ref string, copy func(*container.Container) error) error {
	c, err := store.Find(ref)
	if err != nil {
		return err
	}
	st, err := c.State()
	if err != nil {
		return err
	}
	if c.Spec().Labels[tryLabel] != "" && st.Status != container.Running && st.Status != container.Paused {
		b, err := newBox(c)
		if err != nil {
			return err
		}
		l, err := b.lock()
		if err != nil {
			return err
		}
		defer l.Close()
	}
	return copy(c)
}

// insideOf takes CONTAINER:PATH apart. A name with a slash before the colon is a
// path.
func insideOf(arg string) (ref, path string, ok bool) {
	ref, path, ok = strings.Cut(arg, ":")
	return ref, path, ok && ref != "" && !strings.ContainsAny(ref, "/.")
}

// joined runs both ends of a pipe. What a broken pipe says is never the reason.
func joined(write, read func(f *os.File) error) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		err := write(pw)
		pw.Close()
		wrote <- err
	}()
	err = read(pr)
	pr.Close()
	w := <-wrote
	if w != nil && !errors.Is(w, unix.EPIPE) {
		return w
	}
	return err
}

func copyOut(c *container.Container, path, target string) error {
	if target == "-" {
		if isTerminal(os.Stdout) {
			return fmt.Errorf("a tar stream is not for a terminal: redirect it")
		}
		return c.CopyOut(path, os.Stdout)
	}
	return joined(
		func(w *os.File) error { return c.CopyOut(path, w) },
		func(r *os.File) error {
			root, name, err := hostRoot(target)
			if err != nil {
				return err
			}
			defer unix.Close(root)
			err = tarcopy.Unpack(r, root, name)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		})
}

func copyIn(c *container.Container, source, path string) error {
	if source == "-" {
		return c.CopyIn(path, os.Stdin)
	}
	return joined(
		func(w *os.File) error {
			root, name, err := hostRoot(source)
			if err != nil {
				return err
			}
			defer unix.Close(root)
			return tarcopy.Pack(w, root, name)
		},
		func(r *os.File) error { return c.CopyIn(path, r) })
}

// hostRoot gives the host's root and a path in it.
func hostRoot(path string) (int, string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return -1, "", err
	}
	if strings.HasSuffix(path, "/") {
		abs += "/"
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return root, abs, err
}
