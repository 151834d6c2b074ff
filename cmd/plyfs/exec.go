package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const execUsage = `usage: plyfs exec [FLAG…] CONTAINER COMMAND [ARGUMENT…]

Runs another command in a running container, with the rights that the first one
has. The exit codes are those of plyfs run. The command ends with plyfs, unless
that detached from its terminal: then it goes on and nobody sees what it writes
(plyfs top lists it).

  -i, --interactive   pass standard input on
  -t, --tty           give it a terminal
  -e, --env NAME[=VALUE]
  -w, --workdir DIR
  -u, --user USER[:GROUP]
  --detach-keys KEYS  leave the terminal: characters and ctrl-X, with commas
                      between (ctrl-p,ctrl-q); '' for no way out
  --root DIR
`

func execVerb(args []string) error {
	r := newRequest()
	set := map[string]setter{}
	for _, table := range []map[string]setter{runSwitches(), runValues()} {
		for name, s := range table {
			switch name {
			case "i", "interactive", "t", "tty", "e", "env", "w", "workdir", "u", "user", "root", "detach-keys":
				set[name] = s
			}
		}
	}
	spec := cli.Spec{Short: "hite:w:u:", Long: []string{"help", "interactive", "tty", "env=", "workdir=", "user=", "root=", "detach-keys="}, Leading: true}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return runError(err)
	}
	if wantsHelp(flags, execUsage) {
		return nil
	}
	for _, f := range flags {
		if err := set[f.Name](r, f.Value); err != nil {
			return runError(fmt.Errorf("%s: %w", dashes(f.Name), err))
		}
	}
	if len(rest) < 2 {
		return runError(fmt.Errorf("a container and a command are wanted"))
	}
	r.spec.Process.Args = rest[1:]
	if err := r.checkTerminal(); err != nil {
		return runError(err)
	}
	store, err := openStore(r.root)
	if err != nil {
		return runError(err)
	}
	c, err := store.Find(rest[0])
	if err != nil {
		return runError(err)
	}
	code, err := r.exec(c)
	if err != nil {
		return runError(err)
	}
	if code != 0 {
		return cli.Silent(code)
	}
	return nil
}

// checkTerminal wants one for -t, and passes its kind on.
func (r *runRequest) checkTerminal() error {
	p := &r.spec.Process
	if !p.Terminal {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return fmt.Errorf("-t needs a terminal as standard input")
	}
	p.Size = terminalSize()
	if t := os.Getenv("TERM"); t != "" {
		p.Env = append([]string{"TERM=" + t}, p.Env...)
	}
	return nil
}

func (r *runRequest) exec(c *container.Container) (int, error) {
	if r.spec.Process.Terminal {
		a, err := c.ExecAttached(r.spec.Process)
		if err != nil {
			return 0, err
		}
		return relay(a, r.detachKeys, "detached; the command goes on, and plyfs top lists it")
	}
	stdio, err := r.stdio()
	if err != nil {
		return 0, err
	}
	signals := container.CatchSignals()
	e, err := c.Exec(r.spec.Process, stdio.payload)
	stdio.started()
	if err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = e.Signal(s.(unix.Signal))
		}
	}()
	code := e.Wait()
	stdio.wait()
	return code, nil
}
