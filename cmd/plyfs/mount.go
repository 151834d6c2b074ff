package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/layer"
)

const mountUsage = `usage: plyfs mount -o lowerdir=DIR[:DIR…][,upperdir=DIR,workdir=DIR][,OPTION…] [-f] [-d] [--log FILE] MOUNTPOINT

Mounts the union of the lower directories, the first on top, and returns when it
answers. Changes go to the upperdir; without one the mount is read-only. The
workdir is a directory of the same filesystem that plyfs may use as it likes.
More options are in docs/options.md.

  -o OPTIONS   options with commas between; may be given again
  -f           stay in the foreground until the mount is gone
  -d           trace every request on standard error (implies -f)
  --log FILE   write messages, and with -d the trace, to a file; -d then stays in
               the background
  -h           this text
`

// request is a mount as it was asked for.
type request struct {
	options    *layer.Options
	mountPoint string
	foreground bool
	trace      bool
	log        string
}

func mount(args []string) error {
	spec := cli.Spec{Short: "o:fdh", Long: []string{"debug", "help", "log="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, mountUsage) {
		return nil
	}
	r, text := readMountFlags(flags)
	if r.mountPoint, err = cli.One(rest, "mount point"); err != nil {
		return err
	}
	o, warnings, err := layer.Parse(text, false)
	tell(warnings)
	if err != nil {
		return err
	}
	r.take(o)
	return r.mount()
}

// readMountFlags sorts the flags that all calling forms share; the second
// result are the values of -o.
func readMountFlags(flags []cli.Flag) (*request, []string) {
	r := new(request)
	var text []string
	for _, f := range flags {
		switch f.Name {
		case "o":
			text = append(text, f.Value)
		case "f":
			r.foreground = true
		case "d", "debug":
			r.trace = true
		case "log":
			r.log = f.Value
		}
	}
	return r, text
}

// take gives the request its options.
func (r *request) take(o *layer.Options) {
	r.options = o
	r.trace = r.trace || o.Debug
	if r.trace && r.log == "" {
		r.foreground = true
	}
}

// mount serves the mount in this process, or hands it to one in the
// background.
func (r *request) mount() error {
	if r.foreground {
		if r.options.Keeper {
			return errors.New("keeper=on can't be had in the foreground (-f, or -d without --log), where the server is its caller's child and ends with it: leave one of the two out")
		}
		return serve(r, foregroundHost{})
	}
	return daemonise(r)
}

// tell prints warnings.
func tell(warnings []string) {
	if cli.Quiet() {
		return
	}
	for _, w := range warnings {
		fmt.Fprintf(os.Stderr, "%s: %s\n", program, cli.OneLine(w))
	}
}
