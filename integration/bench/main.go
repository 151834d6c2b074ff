// Command bench compares plyfs with kernel overlayfs and fuse-overlayfs: the
// same layers, the same work, the variants interleaved round by round, once
// with client and server pinned to one CPU and once free. It prints medians as
// a Markdown table.
//
//	go run ./integration/bench -plyfs plyfs=bin/plyfs [-plyfs other=PATH]… [-index indexed=PATH] [-rounds 5] [-write docs/performance.md]
//
// It needs root: for the kernel's overlayfs, and to drop caches.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/tables"
)

// config is what the flags say.
type config struct {
	variants []variant
	rounds   int
	modes    []string
	size     sizes
	write    string
	check    bool
	cpu      bool
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-worker" {
		if err := worker(os.Args[2]); err != nil {
			fail(err)
		}
		return
	}
	c, err := parse(os.Args[1:])
	if err != nil {
		fail(err)
	}
	r, err := run(c, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		fail(err)
	}
	text := r.table()
	fmt.Print(text)
	if c.write != "" {
		if err := tables.Rewrite(c.write, "table", text); err != nil {
			fail(err)
		}
	}
	if c.check {
		if err := r.fasterThan("fuse-overlayfs"); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func parse(args []string) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := fs.Int("rounds", 5, "rounds; each variant runs once in each, and the medians count")
	modes := fs.String("modes", "pinned,free", "pinned (one CPU for client and server), free")
	without := fs.String("without", "", "leave these variants out: kernel, fuse-overlayfs")
	files := fs.Int("files", 50_000, "files in the layers")
	untar := fs.Int("untar", 10_000, "files to unpack, to read and to delete")
	fs.StringVar(&c.write, "write", "", "put the table between the marks of this document")
	fs.BoolVar(&c.cpu, "cpu", false, "count CPU seconds of client and server instead of the clock: for a busy machine")
	fs.BoolVar(&c.check, "check", false, "fail when plyfs is slower than fuse-overlayfs in anything")
	for name, index := range map[string]bool{"plyfs": false, "index": true} {
		usage := "NAME=PATH of a plyfs binary; several may be given"
		if index {
			usage += "; it mounts with an index file, which is there already"
		}
		fs.Func(name, usage, func(v string) error {
			name, path, ok := strings.Cut(v, "=")
			if !ok {
				return errors.New("want NAME=PATH")
			}
			abs, err := filepath.Abs(path)
			if err == nil {
				_, err = os.Stat(abs)
			}
			c.variants = append(c.variants, variant{Name: name, Program: abs, Plyfs: true, Index: index})
			return err
		})
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fuse, err := exec.LookPath("fuse-overlayfs"); err == nil {
		c.variants = append([]variant{{Name: "fuse-overlayfs", Program: fuse}}, c.variants...)
	}
	c.variants = append([]variant{{Name: "kernel"}}, c.variants...)
	c.variants = slices.DeleteFunc(c.variants, func(v variant) bool {
		return slices.Contains(strings.Split(*without, ","), v.Name)
	})
	c.rounds, c.modes = *rounds, strings.Split(*modes, ",")
	c.size = sizes{Files: *files, Work: *untar}
	return c, nil
}

// run makes the layers, measures everything and tidies up.
func run(c *config, progress func(string)) (*results, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("run it as root: it mounts the kernel's overlayfs and drops caches")
	}
	dir, err := os.MkdirTemp("/var/tmp", "plyfs-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	progress("making a file system and the layers")
	unmount, err := freshDisk(dir)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "disk")
	defer func() {
		_ = unix.Unmount(filepath.Join(dir, "mnt"), unix.MNT_DETACH) // in case a worker died
		unmount()
	}()
	if err := makeLayers(dir, c.size); err != nil {
		return nil, err
	}
	r := &results{config: c, values: map[key][]float64{}}
	for round := range c.rounds {
		for _, mode := range c.modes {
			for i := range c.variants {
				v := c.variants[(i+round)%len(c.variants)] // nobody is always the first
				progress(fmt.Sprintf("round %d of %d, %s, %s", round+1, c.rounds, mode, v.Name))
				if err := r.measure(dir, fmt.Sprintf("%d-%s-%d", round, mode, i), mode, v); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", v.Name, mode, err)
				}
			}
		}
	}
	return r, nil
}

// measure runs one worker process. What it starts inherits its CPU.
func (r *results) measure(dir, id, mode string, v variant) error {
	job, err := json.Marshal(job{Dir: dir, ID: id, Variant: v, Size: r.config.size, CPU: r.config.cpu})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// In a mount namespace of its own: one that somebody else makes meanwhile
	// would take a copy of the mount along and keep the server busy.
	args := []string{"unshare", "--mount", "--propagation", "slave", self, "-worker", string(job)}
	if mode == "pinned" {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var got map[string]float64
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("a worker said %q: %w", out, err)
	}
	for work, value := range got {
		k := key{mode, v.Name, work}
		r.values[k] = append(r.values[k], value)
	}
	return nil
}
