package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const tryUsage = `usage: plyfs try [FLAG…] [--] COMMAND [ARG…]

Runs a command as root of a copy of this machine's whole tree that is thrown away:
it can install, change and delete what it likes, and the host stays as it is. /proc,
/sys, /dev, /run and /tmp are fresh. At the end it says what was changed, and asks
whether to put that on the host, keep it, or discard it.

  --name NAME        a sandbox that was kept, to go on in, or the name of a new one
  --commit           at the end: put the changes on the host, and discard the sandbox
  --keep             … keep the sandbox (the default when not on a terminal)
  --discard          … discard it
  --net host|none    the host's network (the default), or none
  --hide PATH        a path that is not there inside. Secrets in the home directory are
                     hidden by default: plyfs config default lists them
  --show PATH        don't hide this one
  --ro PATH          a path that can't be changed inside
  --rw PATH          a path that is passed through: changes in it are made on the host
  -w --workdir DIR   where the command starts (the current directory)
  -e --env K=V       an environment variable more; K alone takes it from here
  -m --memory SIZE   limits: memory (with k, m or g),
  --cpus N           processors,
  --pids-limit N     processes,
  --timeout DURATION time (90, 5m, 1h30m); then the command is ended, and the code is 124
  -q --quiet         no summary
  --root DIR         data directory
  -h                 this text

Exits with the command's code, 125 when plyfs itself fails, 126 when the command can't
be run and 127 when it isn't there.
`

// trial is what `plyfs try` was asked for.
type trial struct {
	root, name string
	end        string // commit, keep, discard, or "" to be asked
	net        string
	hide, show []string
	ro, rw     []string
	workdir    string
	env        []string
	limits     container.Limits
	timeout    time.Duration
	quiet      bool
	args       []string
}

var trySpec = cli.Spec{
	Leading: true,
	Short:   "hqw:e:m:",
	Long: []string{
		"help", "quiet", "name=", "commit", "keep", "discard", "net=", "hide=", "show=", "ro=", "rw=",
		"workdir=", "env=", "memory=", "cpus=", "pids-limit=", "timeout=", "root=",
	},
}

func try(args []string) error {
	oneProcessor()
	flags, rest, err := trySpec.Getopt(args, nil)
	if err != nil {
		return cli.WithCode(cli.ExitNotRun, err)
	}
	if wantsHelp(flags, tryUsage) {
		return nil
	}
	t := &trial{net: container.NetHost, args: rest}
	for _, f := range flags {
		if err := t.flag(f); err != nil {
			return cli.WithCode(cli.ExitNotRun, err)
		}
	}
	if len(rest) == 0 {
		return cli.WithCode(cli.ExitNotRun, fmt.Errorf("no command given; plyfs try -h says more"))
	}
	return t.run()
}

func (t *trial) flag(f cli.Flag) (err error) {
	switch f.Name {
	case "name":
		t.name = f.Value
	case "commit", "keep", "discard":
		if t.end != "" && t.end != f.Name {
			return fmt.Errorf("--%s and --%s exclude each other", t.end, f.Name)
		}
		t.end = f.Name
	case "net":
		if t.net = f.Value; t.net != container.NetHost && t.net != container.NetNone {
			return fmt.Errorf("--net is host or none, not %q", f.Value)
		}
	case "hide":
		t.hide, err = addPath(t.hide, f)
	case "show":
		t.show, err = addPath(t.show, f)
	case "ro":
		t.ro, err = addPath(t.ro, f)
	case "rw":
		t.rw, err = addPath(t.rw, f)
	case "w", "workdir":
		t.workdir = f.Value
	case "e", "env":
		t.env = append(t.env, f.Value)
	case "m", "memory", "cpus", "pids-limit":
		r := &runRequest{}
		r.spec.Limits = t.limits
		err = runValues()[f.Name](r, f.Value)
		t.limits = r.spec.Limits
	case "timeout":
		if n, e := strconv.ParseUint(f.Value, 10, 31); e == nil {
			t.timeout = time.Duration(n) * time.Second
		} else {
			t.timeout, err = time.ParseDuration(f.Value)
		}
		if err != nil || t.timeout <= 0 {
			return fmt.Errorf("--timeout %q is not a time: write 90, 5m or 1h30m", f.Value)
		}
	case "q", "quiet":
		t.quiet = true
	case "root":
		t.root = f.Value
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dashes(f.Name), err)
	}
	return nil
}

// addPath adds a path of the host, absolute and with no link in it, so that
// nothing leads around it. One that isn't there stays as it was written.
func addPath(list []string, f cli.Flag) ([]string, error) {
	p, err := filepath.Abs(f.Value)
	if err != nil {
		return nil, err
	}
	if p == "/" {
		return nil, fmt.Errorf("/ is the whole tree")
	}
	if _, err := os.Lstat(p); err != nil && (f.Name == "ro" || f.Name == "rw") {
		return nil, err
	}
	return append(list, reals(p)...), nil
}

// reals are a path with the links in its directory resolved, and where it leads
// when it is a link itself.
func reals(p string) []string {
	at := p
	if dir := realDir(filepath.Dir(p)); dir != "" {
		at = filepath.Join(dir, filepath.Base(p))
	}
	if st, err := os.Lstat(at); err != nil || st.Mode()&os.ModeSymlink == 0 {
		return []string{at}
	}
	if to, err := filepath.EvalSymlinks(at); err == nil && to != at {
		return []string{at, to}
	}
	return []string{at}
}

// realDirs are the directories that were resolved already: most of what is
// hidden lies in a few.
var realDirs = map[string]string{}

// realDir is a directory with no link in it, "" when it isn't there.
func realDir(p string) string {
	to, known := realDirs[p]
	if !known {
		to, _ = filepath.EvalSymlinks(p)
		realDirs[p] = to
	}
	return to
}

// hidden are all paths that are to be hidden: those of the configuration and of
// the command line, less those to be shown.
func (t *trial) hidden() ([]string, error) {
	cfg, err := cli.LoadConfig()
	if err != nil {
		return nil, err
	}
	list := slices.Clone(t.hide)
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	for _, p := range cfg.Try.Hide {
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			if home == "" {
				continue
			}
			p = filepath.Join(home, rest)
		}
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("%s: try.hide: %q is neither absolute nor below ~/", cfg.File, p)
		}
		list = append(list, reals(filepath.Clean(p))...)
	}
	return slices.DeleteFunc(list, func(p string) bool {
		return slices.Contains(t.show, p) || slices.Contains(t.rw, p)
	}), nil
}
