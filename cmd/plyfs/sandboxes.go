package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
)

// A sandbox is a container whose root is a view of the host: its directory
// holds what package sandbox keeps, too.

// box is a sandbox that a verb works on.
type box struct {
	c      *container.Container
	name   string
	config *sandbox.Config
}

// findBox finds a sandbox by its name or id.
func findBox(root, ref string) (*box, error) {
	s, err := openStore(root)
	if err != nil {
		return nil, err
	}
	c, err := s.Find(ref)
	if err != nil {
		return nil, err
	}
	return newBox(c)
}

func newBox(c *container.Container) (*box, error) {
	st, err := c.State()
	if err != nil {
		return nil, err
	}
	config, err := sandbox.Load(c.Dir())
	if errors.Is(err, os.ErrNotExist) && c.Spec().Labels[tryLabel] != "" {
		return nil, fmt.Errorf("sandbox %s was never made to its end, and nothing ran in it: plyfs rm %s", st.Name, st.Name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is a container and not a sandbox: it was not made by plyfs try", st.Name)
	}
	return &box{c, st.Name, config}, err
}

// lock takes the sandbox for this process.
func (b *box) lock() (*os.File, error) {
	l, err := sandbox.Lock(b.c.Dir())
	if errors.Is(err, sandbox.ErrInUse) {
		return nil, fmt.Errorf("sandbox %s: %w: leave what runs in it first (plyfs ps shows it)", b.name, err)
	}
	return l, err
}

// withBox runs fn for the sandbox that is named first in rest.
func withBox(root string, rest []string, fn func(b *box) error) error {
	if len(rest) == 0 {
		return fmt.Errorf("no sandbox given; plyfs ps -a lists them")
	}
	b, err := findBox(root, rest[0])
	if err != nil {
		return err
	}
	return fn(b)
}

// locked is withBox with the sandbox taken.
func locked(root string, rest []string, fn func(b *box) error) error {
	return withBox(root, rest, func(b *box) error {
		l, err := b.lock()
		if err != nil {
			return err
		}
		defer l.Close()
		return fn(b)
	})
}

// view opens the upper beside the host.
func (b *box) view() (*sandbox.View, func(), error) { return b.config.Open(b.c.Dir()) }
