// Command bench compares plyfs with the file system below it, kernel overlayfs
// and fuse-overlayfs: the same layers, the same work, the variants interleaved
// round by round, each once with client and server pinned to one CPU and once free.
//
//	go run ./integration/bench -plyfs plyfs=bin/plyfs [-plyfs other=PATH]… [-fuse new=PATH]… [-quick] [-json FILE] [-write docs/performance.md]
//	go run ./integration/bench compare OLD.json NEW.json
//
// It needs root: for the kernel's overlayfs, and to drop caches. What is measured
// are the scenes of scene*.go; rows.go has what each row is to reach.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// config is what the flags say.
type config struct {
	variants []variant
	rounds   int
	modes    []string
	size     sizes
	scenes   []scene
	write    string
	json     string
	check    bool
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-worker" {
		if err := worker(os.Args[2]); err != nil {
			fail(err)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "compare" {
		if err := compare(os.Stdout, os.Args[2], os.Args[3]); err != nil {
			fail(err)
		}
		return
	}
	c, err := parse(os.Args[1:])
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	r, err := run(ctx, c, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		fail(err)
	}
	fmt.Print(r.table())
	if c.json != "" {
		if err := r.save(c.json); err != nil {
			fail(err)
		}
	}
	if c.write != "" {
		if err := r.publish(c.write); err != nil {
			fail(err)
		}
	}
	if c.check {
		if err := r.missed(); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func parse(args []string) (*config, error) {
	c := &config{size: full}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := fs.Int("rounds", 0, "rounds, 5 (with -quick 1); each variant runs once in each, and the medians count")
	modes := fs.String("modes", "pinned,free", "pinned (one CPU for client and server), free")
	without := fs.String("without", "", "leave these variants out, by name: native, kernel, fuse-overlayfs, …")
	only := fs.String("scenes", "", "a regular expression that picks scenes")
	small := fs.Bool("quick", false, "a small version of everything, in less than 4 minutes")
	stat := fs.Int("stat", 0, "files to stat, if not 11,000 of the 50,000")
	fs.StringVar(&c.write, "write", "", "put the tables between the marks of this document, charts and JSON beside it")
	fs.StringVar(&c.json, "json", "", "write every measurement to this file")
	fs.BoolVar(&c.check, "check", false, "fail when a row misses what it must reach")
	program := func(plyfs bool) func(string) error {
		return func(v string) error {
			name, path, ok := strings.Cut(v, "=")
			if !ok {
				return errors.New("want NAME=PATH")
			}
			abs, err := filepath.Abs(path)
			if err == nil {
				_, err = os.Stat(abs)
			}
			if !plyfs {
				c.variants = append(c.variants, variant{Name: name, Program: abs})
				return err
			}
			for _, v := range []variant{{Name: name}, {Name: name + " index", Index: true}, {Name: name + " passthrough", Options: "io=passthrough"}, {Name: name + " user", UserNS: true}} {
				v.Program, v.Plyfs = abs, true
				c.variants = append(c.variants, v)
			}
			return err
		}
	}
	fs.Func("plyfs", "NAME=PATH of a plyfs binary, which runs cached, with passthrough and in a user namespace; several may be given", program(true))
	fs.Func("fuse", "NAME=PATH of another binary with fuse-overlayfs' calling form; several may be given", program(false))
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	given := c.variants
	c.variants = []variant{{Name: "native", Native: true}, {Name: "kernel"}}
	if fuse, err := exec.LookPath("fuse-overlayfs"); err == nil {
		c.variants = append(c.variants, variant{Name: "fuse-overlayfs", Program: fuse})
	}
	c.variants = slices.DeleteFunc(append(c.variants, given...), func(v variant) bool {
		return slices.Contains(strings.Split(*without, ","), v.Name)
	})
	c.rounds, c.modes = 5, strings.Split(*modes, ",")
	if *small {
		c.size, c.rounds = quick, 1
	}
	if *stat > 0 {
		c.size.Stat = min(*stat, c.size.Tree)
	}
	if *rounds > 0 {
		c.rounds = *rounds
	}
	pick, err := regexp.Compile(*only)
	if err != nil {
		return nil, err
	}
	for _, s := range scenes {
		if pick.MatchString(s.name) {
			c.scenes = append(c.scenes, s)
		}
	}
	return c, nil
}

// run makes the layers, measures everything and tidies up, also when it is told
// to stop.
func run(ctx context.Context, c *config, progress func(string)) (*results, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("run it as root: it mounts the kernel's overlayfs and drops caches")
	}
	top, err := os.MkdirTemp("/var/tmp", "plyfs-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(top) }()
	if err := os.Chmod(top, 0o755); err != nil {
		return nil, err
	}
	unmount, err := freshDisk(top)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(top, "disk")
	defer func() {
		_ = unix.Unmount(filepath.Join(dir, "mnt"), unix.MNT_DETACH) // in case a worker died
		unmount()
	}()
	if err := os.Mkdir(filepath.Join(dir, "mnt"), 0o755); err != nil {
		return nil, err
	}
	r := newResults(c)
	for _, s := range c.scenes {
		progress("layers of " + s.name)
		f := &fixture{dir: filepath.Join(dir, "layers", s.name), size: c.size}
		if err := s.make(f); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if err := f.merge(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		for round := range c.rounds {
			for _, mode := range c.modes {
				for i := range c.variants {
					v := c.variants[(i+round)%len(c.variants)] // nobody is always the first
					if v.Native && !s.native {
						continue
					}
					progress(fmt.Sprintf("%s: round %d of %d, %s, %s", s.name, round+1, c.rounds, mode, v.Name))
					id := fmt.Sprintf("%s-%d-%s-%d", s.name, round, mode, i)
					if err := r.measure(ctx, job{Dir: dir, Scene: s.name, ID: id, Lowers: f.lowers, Variant: v, Size: c.size}, round, mode); err != nil {
						return nil, fmt.Errorf("%s, %s, %s: %w", s.name, v.Name, mode, err)
					}
				}
			}
		}
	}
	return r, nil
}

// measure runs one worker process. What it starts inherits its CPU.
func (r *results) measure(ctx context.Context, j job, round int, mode string) error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// In a mount namespace of its own: one that somebody else makes meanwhile
	// would take a copy of the mount along and keep the server busy.
	args := []string{"unshare", "--mount", "--propagation", "slave"}
	if j.Variant.UserNS {
		args = append(args, "--user", "--map-root-user")
	}
	args = append(args, self, "-worker", string(text))
	if mode == "pinned" {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // see leave
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	var got report
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("a worker said %q: %w", out, err)
	}
	for _, g := range got.Rows {
		g.Mode, g.Variant, g.Round = mode, j.Variant.Name, round
		r.Runs = append(r.Runs, g)
	}
	if got.RSS > 0 {
		r.Memory = append(r.Memory, peak{Mode: mode, Variant: j.Variant.Name, Scene: j.Scene, MiB: got.RSS})
	}
	return nil
}
