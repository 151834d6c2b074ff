package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// unionRoot is a container's root made of layers.
type unionRoot struct {
	options *layer.Options
	tree    *union.FS
	dir     string // of the container
}

// openRootfs makes a root of option text. Without an upperdir in it, what is
// written goes to the container's directory.
func openRootfs(text, dir string) (container.Rootfs, error) {
	o, _, err := layer.Parse([]string{text}, true)
	if err != nil {
		return nil, err
	}
	for i, l := range o.Lower {
		o.Lower[i] = strings.Replace(l, "{dir}", dir, 1)
	}
	if o.Upper == "" {
		o.ReadOnly = false // what no upperdir means elsewhere
		o.Upper, o.Work = filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	}
	return &unionRoot{options: o, dir: dir}, nil
}

func (r *unionRoot) Open() (err error) {
	stack, err := layer.Open(r.options)
	if err != nil {
		return err
	}
	stack.AwaitIdle(afterlife)
	r.tree, err = union.New(stack, r.options)
	return err
}

func (r *unionRoot) Mount(dir string, userNS bool) (int, error) {
	return fusefs.Mount(dir, r.options, userNS)
}

func (r *unionRoot) MountCall(fd int) container.MountCall {
	return container.MountCall(fusefs.DirectCall(r.options, true, fd, 0, 0))
}

// shortLife is for how long a container may just be one command.
const shortLife = 40 * time.Millisecond

func (r *unionRoot) Serve(fd int, userNS bool, counters *os.File) error {
	fusefs.TuneLater(shortLife)
	tree := r.tree
	tree.OnClosed(func(path string) { sandbox.NoteClosed(r.dir, path) })
	config := fusefs.Config{Options: r.options, UserNS: userNS, OtherPIDs: true}
	var err error
	if config.Meter, err = meter.Serve(counters); err != nil {
		fmt.Fprintf(os.Stderr, "%s: nobody can look at what the root does: %v\n", program, err)
	}
	err = fusefs.NewServer(fd, tree, config).Serve()
	if e := tree.Close(); err == nil {
		err = e
	}
	return err
}
