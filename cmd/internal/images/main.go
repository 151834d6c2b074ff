// Package images has the verbs of plyfs that are about images: one file holds a
// few of them. A verb reads its flags, calls package ship, and prints the
// result to standard output, everything else to standard error.
package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/imageverbs"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/snapshot"
)

// verb is one subcommand.
type verb struct {
	// owner says that it makes or deletes files of all ids.
	owner bool
	run   func(c *call) error
}

func verbs() map[string]verb {
	return map[string]verb{
		"pull":    {true, pull},
		"push":    {false, push},
		"load":    {true, load},
		"save":    {false, save},
		"import":  {true, importVerb},
		"images":  {false, images},
		"rmi":     {true, rmi},
		"tag":     {false, tag},
		"history": {false, history},
		"image":   {false, imageVerb},
		"inspect": {false, inspect},
		"prune":   {true, prune},
		"system":  {false, system},

		"prune-all": {false, pruneAll},
		"df":        {true, df},
		"check":     {true, check},
		"repair":    {true, repair},
		"commit":    {false, commit},
		"tree":      {true, tree},
		"explore":   {false, exploreVerb},
	}
}

// call is a verb with its arguments.
type call struct {
	flags []cli.Flag
	rest  []string
	root  string
	ctx   context.Context
}

// Main is the main function of the program.
func Main() {
	container.Boot(nil)
	log.L.Logger.SetOutput(io.Discard) // what libraries say beside their errors
	os.Exit(cli.Exit(os.Stderr, "plyfs", run(os.Args[1:])))
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("plyfs-image is a part of plyfs: call plyfs")
	}
	return start(args[0], args[1:])
}

func start(name string, args []string) error {
	v, ok := verbs()[name]
	if !ok {
		return fmt.Errorf("plyfs-image has no verb %q", name)
	}
	known := imageverbs.Of(name)
	flags, rest, err := known.Spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	c := &call{rest: rest}
	for _, f := range flags {
		switch f.Name {
		case "h", "help":
			fmt.Print(known.Usage)
			return nil
		case "root":
			c.root = f.Value
		default:
			c.flags = append(c.flags, f)
		}
	}
	if c.root, err = dataDir(c.root); err != nil {
		return err
	}
	if v.owner {
		if code, again, err := enterRoot(c); err != nil || again {
			if err == nil && code != 0 {
				err = cli.Silent(code)
			}
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	c.ctx = ctx
	return v.run(c)
}

// enterRoot is container.WithUserRoot. The other process is root, for whom
// other places are the usual ones.
func enterRoot(c *call) (code int, again bool, err error) {
	if os.Geteuid() != 0 {
		os.Setenv("PLYFS_ROOT", c.root)
		if file, ok := cli.ConfigFile(); ok {
			os.Setenv("PLYFS_CONFIG", file)
		}
	}
	return container.WithUserRoot()
}

// dataDir is where containers and images are kept.
func dataDir(root string) (_ string, err error) {
	if root == "" && os.Getenv("PLYFS_ROOT") == "" {
		if root, err = cli.ConfiguredRoot(); err != nil {
			return "", err
		}
	}
	if root == "" {
		return container.DefaultRoot()
	}
	return filepath.Abs(root)
}

func (c *call) has(names ...string) bool {
	for _, f := range c.flags {
		for _, n := range names {
			if f.Name == n {
				return true
			}
		}
	}
	return false
}

// value is the last value of a flag.
func (c *call) value(def string, names ...string) string {
	for _, f := range c.flags {
		for _, n := range names {
			if f.Name == n {
				def = f.Value
			}
		}
	}
	return def
}

func (c *call) values(names ...string) (out []string) {
	for _, f := range c.flags {
		for _, n := range names {
			if f.Name == n {
				out = append(out, f.Value)
			}
		}
	}
	return out
}

// one wants a single argument.
func (c *call) one(what string) (string, error) {
	if len(c.rest) != 1 {
		return "", fmt.Errorf("%s is wanted, and %d arguments are given", what, len(c.rest))
	}
	return c.rest[0], nil
}

// shipper opens the store, with the limits of the flags.
func (c *call) shipper() (*ship.Shipper, error) {
	s, err := ship.New(c.root, unpack)
	if err != nil {
		return nil, err
	}
	if v := c.value("", "max-size"); v != "" {
		if s.Limits.Bytes, err = byteSize(v); err != nil {
			return nil, fmt.Errorf("--max-size: %w", err)
		}
	}
	if v := c.value("", "max-entries"); v != "" {
		if _, err := fmt.Sscan(v, &s.Limits.Entries); err != nil || s.Limits.Entries < 1 {
			return nil, fmt.Errorf("--max-entries: %q is not a number", v)
		}
	}
	return s, nil
}

func (c *call) platform() (ship.Platform, error) {
	v := c.value("", "platform")
	if v == "" {
		return ship.ThisPlatform(), nil
	}
	return ship.ParsePlatform(v)
}

// unpack plugs the snapshotter's way of unpacking layers in.
func unpack(ctx context.Context, dir string, in io.Reader, o ship.UnpackOptions) error {
	return snapshot.Unpack(ctx, dir, in, snapshot.UnpackOptions{Base: o.Base, User: o.User, Filter: o.Filter})
}

// byteSize reads a size with docker's units.
func byteSize(v string) (int64, error) {
	var n int64
	var unit string
	k, _ := fmt.Sscanf(v, "%d%s", &n, &unit)
	shift, ok := map[string]uint{"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[strings.TrimSuffix(strings.ToLower(unit), "b")]
	if unit == "b" {
		shift, ok = 0, true
	}
	if k == 0 || !ok || n < 1 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is not a size like 512m or 2g", v)
	}
	return n << shift, nil
}

// humanSize writes a size as docker does.
func humanSize(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1000
	}
	return fmt.Sprintf("%.3g%s", f, units[i])
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
