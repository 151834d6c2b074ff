package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

const runUsage = `usage: plyfs run [FLAG…] IMAGE [COMMAND [ARGUMENT…]]
       plyfs run [FLAG…] (--layer DIR… | --rootfs DIR) COMMAND [ARGUMENT…]

Runs a command in a container. Its exit code is the command's, 128+N for one
that a signal ended; 125: plyfs could not start it, 126: it can't be executed,
127: it isn't there.

root:
  --pull missing|always|never   when to get the image from its registry
  --layer DIR            a read-only layer, the first on top; what is written
                         goes to the container and is gone with it
  --rootfs DIR           a directory that is the root itself, changes included
  --read-only            the root can't be written
  -v, --volume SRC:DST[:ro]   mount a file or directory of the host
  --tmpfs DIR[:size=N,mode=M,ro,noexec]   a filesystem in memory
  --device SRC[:DST]     a device of the host
process:
  -i, --interactive      pass standard input on (else it is empty)
  -t, --tty              give it a terminal
  --detach-keys KEYS     leave it with -t, and it goes on (ctrl-p,ctrl-q; '' for
                         none): plyfs attach comes back
  -d, --detach           run in the background and print the id
  -e, --env NAME[=VALUE], --env-file FILE
  -w, --workdir DIR      made when it isn't there
  -u, --user USER[:GROUP]
  --entrypoint PROGRAM   put before the command, in place of the image's
  --init                 a small process 1 that reaps orphans
  --ulimit NAME=SOFT[:HARD]
  --stop-signal SIGNAL, --stop-timeout SECONDS
  --restart no|on-failure[:N]   with -d
limits (cgroups):
` + limitUsage + `isolation:
  --userns private|single|host   ids of its own (default), one only, or none
  --ids map|virtual      owners on disk as they are, or kept as data
  --cap-add CAP, --cap-drop CAP   ALL is all of them
  --security-opt seccomp=FILE|unconfined, no-new-privileges[=true|false],
                 systempaths=unconfined
  --sysctl NAME=VALUE
network:
  --net, --network none|host|user
                         user: by pasta or slirp4netns (default if it works)
  -p, --publish [IP:]HOST:CONTAINER[/tcp|udp]
  --dns ADDRESS, --add-host NAME:ADDRESS, --hostname NAME
bookkeeping:
  --name NAME, --label NAME=VALUE, --rm, --cidfile FILE, --pidfile FILE,
  --root DIR             where containers are kept
  -h, --help             this text
`

// runRequest is a command line of run.
type runRequest struct {
	spec        container.Spec
	layers      []string
	root        string // of the store
	name        string
	detach      bool
	interactive bool
	idFile      string
	pidFile     string
	entrypoint  string
	// hasEntrypoint says that it was given: it may be empty.
	hasEntrypoint bool
	pull          string
	idsGiven      bool     // --ids
	using         *os.File // keeps the layers of the image where they are
	capAdd        []string
	capDrop       []string
	detachKeys    []byte
}

func runVerb(args []string) error {
	oneProcessor()
	beginEarly(args)
	spec, set := runFlags()
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return runError(err)
	}
	if wantsHelp(flags, runUsage) {
		return nil
	}
	r := newRequest()
	for _, f := range flags {
		if err := set[f.Name](r, f.Value); err != nil {
			return runError(fmt.Errorf("%s: %w", dashes(f.Name), err))
		}
	}
	if err := r.finish(rest); err != nil {
		return runError(err)
	}
	return r.run()
}

// beginEarly starts what a start in the foreground begins with, before the flags
// are read, when no word looks like one of the flags that say otherwise. A word
// of the command may look so, too: then it begins a moment later.
func beginEarly(args []string) {
	for _, a := range args {
		long, isLong := strings.CutPrefix(a, "--")
		switch {
		case isLong && long != "rm" && long != "" && strings.ContainsRune("dhrtu", rune(long[0])),
			!isLong && strings.HasPrefix(a, "-") && strings.ContainsAny(a, "dht"):
			return // --detach, --help, --root, --tty, --userns, and what is short for them
		}
	}
	if root, err := dataDir(""); err == nil {
		container.Begin(root, container.IDs{})
	}
}

func newRequest() *runRequest {
	r := new(runRequest)
	r.detachKeys, _ = parseKeys(defaultDetach)
	return r
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func (r *runRequest) run() error {
	store, err := openStore(r.root)
	if err != nil {
		return runError(err)
	}
	if r.pidFile != "" { // what can't be written is told before anything runs
		if err := os.WriteFile(r.pidFile, nil, 0o644); err != nil {
			return runError(err)
		}
	}
	idFile, err := newFile(r.idFile)
	if err != nil {
		return runError(err)
	}
	made := false
	created := func(c *container.Container) error {
		made = true
		return finishFile(idFile, c.ID)
	}
	defer func() {
		if !made && idFile != nil { // there is no id
			idFile.Close()
			os.Remove(r.idFile)
		}
	}()
	if !r.detach && !r.spec.Process.Terminal {
		container.Begin(store.Root(), r.spec.IDs)
		code, err := r.foreground(store, created)
		return ended(code, err)
	}
	// Another process is the monitor.
	if r.spec.Process.Terminal {
		r.spec.Process.Size = terminalSize()
	}
	c, err := store.Create(r.name, &r.spec)
	r.using.Close()
	if err == nil {
		err = created(c)
	}
	switch {
	case err != nil:
		return runError(err)
	case r.detach:
		return r.background(c)
	}
	code, err := r.onTerminal(c)
	return ended(code, err)
}

// ended is the end of a command as an error.
func ended(code int, err error) error {
	if err != nil {
		return runError(err)
	}
	if code != 0 {
		return cli.Silent(code)
	}
	return nil
}

// background starts a monitor and prints the id.
func (r *runRequest) background(c *container.Container) error {
	warnings, err := c.StartDetached()
	tell(warnings)
	if err == nil {
		err = r.writePid(c)
	}
	if err != nil {
		return r.discard(c, err)
	}
	fmt.Println(c.ID)
	return nil
}

// discard removes a container that was to be removed at its end and never
// started.
func (r *runRequest) discard(c *container.Container, err error) error {
	if r.spec.Remove {
		if e := c.Remove(true); e != nil && !errors.Is(e, container.ErrNotFound) {
			tell([]string{e.Error()})
		}
	}
	return runError(err)
}

func (r *runRequest) writePid(c *container.Container) error {
	if r.pidFile == "" {
		return nil
	}
	st, err := c.State()
	if err != nil {
		return err
	}
	return os.WriteFile(r.pidFile, fmt.Appendf(nil, "%d\n", st.Init.PID), 0o644)
}

// onTerminal starts a monitor that gives us the container's terminal: so the
// container can go on when we detach.
func (r *runRequest) onTerminal(c *container.Container) (int, error) {
	a, err := c.StartAttached()
	if a != nil {
		tell(a.Warnings)
	}
	if err != nil {
		return 0, r.discard(c, err)
	}
	if err := r.writePid(c); err != nil && !errors.Is(err, container.ErrNotFound) { // it may have ended
		tell([]string{err.Error()})
	}
	return relay(a, r.detachKeys, comeBack(c))
}

// foreground is the monitor of the container until it ends.
func (r *runRequest) foreground(store *container.Store, created func(*container.Container) error) (int, error) {
	stdio, err := r.stdio()
	if err != nil {
		return 0, err
	}
	var signals chan os.Signal
	stdio.payload.Meanwhile = func() { signals = container.CatchEnds() }
	stdio.payload.Warn = func(text string) { tell([]string{text}) }
	c, started, err := store.Launch(r.name, &r.spec, stdio.payload, created)
	stdio.started()
	if err != nil {
		if c == nil {
			return 0, err
		}
		return 0, r.discard(c, err)
	}
	container.CatchAll(signals)
	go func() {
		for s := range signals {
			_ = started.Signal(s.(unix.Signal))
		}
	}()
	if err := r.writePid(c); err != nil {
		tell([]string{err.Error()})
	}
	code, err := started.Wait()
	stdio.wait()
	return code, err
}

// newFile makes a file that must not exist yet.
func newFile(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%s exists already: it would say two ids", name)
	}
	return f, err
}

func finishFile(f *os.File, text string) error {
	if f == nil {
		return nil
	}
	_, err := io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

// finish makes the Spec whole.
func (r *runRequest) finish(command []string) error {
	s := &r.spec
	if r.isImage(command) {
		root, err := dataDir(r.root)
		if err != nil {
			return err
		}
		if command, err = r.finishImage(root, command); err != nil {
			return err
		}
	} else if r.entrypoint != "" {
		command = append([]string{r.entrypoint}, command...)
	}
	if len(command) == 0 {
		return fmt.Errorf("no command given; plyfs run -h says more")
	}
	s.Process.Args = command
	if err := r.finishRoot(); err != nil {
		return err
	}
	if err := r.finishCaps(); err != nil {
		return err
	}
	if err := checkSwap(&s.Limits); err != nil {
		return err
	}
	if s.Net.Mode == "" {
		s.Net.Mode, s.Net.Optional = container.NetUser, len(s.Net.Ports) == 0
	}
	switch {
	case s.Restart.OnFailure && !r.detach:
		return fmt.Errorf("--restart is for containers in the background: give -d, too")
	case s.Restart.OnFailure && s.Remove:
		return fmt.Errorf("--restart and --rm exclude each other")
	case r.detach && r.interactive && !s.Process.Terminal:
		return fmt.Errorf("-d and -i: nobody could write to it")
	}
	if r.detach {
		return nil
	}
	return r.checkTerminal()
}

// finishCaps adds what was added to the defaults, and takes what was dropped.
func (r *runRequest) finishCaps() error {
	caps := container.DefaultCaps()
	for _, name := range r.capAdd {
		if strings.EqualFold(name, "ALL") {
			caps = container.AllCaps()
		}
	}
	drop := map[string]bool{}
	for _, name := range r.capDrop {
		if strings.EqualFold(name, "ALL") {
			caps = nil
			continue
		}
		full, err := container.CapName(name)
		if err != nil {
			return fmt.Errorf("--cap-drop: %w", err)
		}
		drop[full] = true
	}
	for _, name := range r.capAdd {
		if strings.EqualFold(name, "ALL") {
			continue
		}
		full, err := container.CapName(name)
		if err != nil {
			return fmt.Errorf("--cap-add: %w", err)
		}
		caps = append(caps, full)
	}
	seen := map[string]bool{}
	r.spec.Process.Caps = nil
	for _, c := range caps {
		if !drop[c] && !seen[c] {
			seen[c] = true
			r.spec.Process.Caps = append(r.spec.Process.Caps, c)
		}
	}
	return nil
}
