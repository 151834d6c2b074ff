package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
	"github.com/plyfs/plyfs/fs/fail"
)

// open finds the sandbox or makes one, takes it for this process, and prepares
// the layer of its view. Closing the file gives it back.
func (t *trial) open() (b *box, taken *os.File, fresh bool, err error) {
	store, err := openStore(t.root)
	if err != nil {
		return nil, nil, false, err
	}
	if os.Geteuid() != 0 {
		container.Begin(store.Root(), tryIDs)
	}
	hide, err := t.hidden()
	if err != nil {
		return nil, nil, false, err
	}
	var c *container.Container
	if t.name != "" {
		if c, err = findExact(store, t.name); err != nil {
			return nil, nil, false, err
		}
	}
	if c == nil {
		fresh = true
		if c, err = t.create(store); err != nil {
			return nil, nil, false, err
		}
	}
	b, taken, err = t.take(c, hide)
	if err != nil && fresh {
		_ = c.Remove(false) // nothing has ever run in it
	}
	return b, taken, fresh, err
}

// create makes a container and writes down that it is a sandbox.
func (t *trial) create(store *container.Store) (*container.Container, error) {
	spec, err := t.spec()
	if err != nil {
		return nil, err
	}
	if err := t.hasWorkdir(spec.Process.Cwd); err != nil {
		return nil, err
	}
	c, err := store.Create(t.name, spec)
	if err != nil {
		return nil, err
	}
	fail.Point("try.created")
	root, err := filepath.EvalSymlinks(filepath.Dir(filepath.Dir(c.Dir())))
	if err == nil {
		err = (&sandbox.Config{Virtual: os.Geteuid() != 0, Store: root}).Save(c.Dir())
	}
	if err != nil {
		_ = c.Remove(false)
		return nil, err
	}
	return c, nil
}

// hasWorkdir refuses a directory that a new sandbox can't have: making it would
// be a change, and the sandbox would be kept for it.
func (t *trial) hasWorkdir(dir string) error {
	if t.workdir == "" || isFresh(dir) {
		return nil
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return &container.StartError{Code: 126, Text: fmt.Sprintf("working directory %s does not exist: give -w one that does", dir)}
	}
	return nil
}

// isFresh says whether dir lies in what is empty in each sandbox.
func isFresh(dir string) bool {
	return slices.ContainsFunc(sandbox.Fresh(), func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
}

func (t *trial) take(c *container.Container, hide []string) (*box, *os.File, error) {
	b, err := newBox(c)
	if err != nil {
		return nil, nil, err
	}
	l, err := b.lock()
	if err != nil {
		return nil, nil, err
	}
	b.config.Add(hide, t.rw, t.ro)
	fail.Point("try.taken")
	if err = b.config.BuildView(c.Dir(), hide); err == nil {
		fail.Point("try.viewed")
		err = b.config.Save(c.Dir())
	}
	if err == nil {
		err = t.prepare(c)
	}
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return b, l, nil
}

// findExact finds a container by its whole name; nil is none.
func findExact(s *container.Store, name string) (*container.Container, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if st, err := c.State(); err == nil && st.Name == name {
			return c, nil
		}
	}
	return nil, nil
}

// tryLabel marks the containers that are sandboxes, for ps.
const tryLabel = "plyfs.try"

// tryIDs are those of a user's sandbox.
var tryIDs = container.IDs{Single: true, Virtual: true}

// spec describes the container of a sandbox.
func (t *trial) spec() (*container.Spec, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	s := &container.Spec{
		Hostname: host,
		Image:    "/",
		Labels:   map[string]string{tryLabel: "1"},
		NoFiles:  true,
		Init:     true,
	}
	s.Process.Caps = container.DefaultCaps()
	if os.Geteuid() == 0 {
		// Files keep their owners; ids beyond those of the container are
		// shown as nobody.
		s.Root.FS = "lowerdir={dir}/view:/,live,uidmapping=0:0:65536,gidmapping=0:0:65536"
	} else {
		s.Root.FS = "lowerdir={dir}/view:/,live,squash_to_root,xattr_permissions=2"
		s.IDs = tryIDs
		s.Process.Notify = true
	}
	return s, t.session(s)
}

// prepare gives the container of a sandbox what is of this session alone.
func (t *trial) prepare(c *container.Container) error { return t.session(c.Spec()) }

// session sets what differs from one session in a sandbox to the next.
func (t *trial) session(s *container.Spec) (err error) {
	s.Net.Mode = t.net
	s.Limits = t.limits
	s.Process.Args = t.args
	s.Process.Env = t.environment()
	s.Process.Terminal = isTerminal(os.Stdin) && isTerminal(os.Stdout)
	s.Process.Size = terminalSize()
	if s.Process.Cwd, err = t.cwd(); err != nil {
		return err
	}
	s.Mounts = []container.Mount{
		{Type: "tmpfs", Target: "/run", Mode: 0o755},
		{Type: "tmpfs", Target: "/tmp"},
	}
	for _, l := range []struct {
		paths    []string
		readOnly bool
	}{{t.ro, true}, {t.rw, false}} {
		for _, p := range l.paths {
			if _, err := os.Lstat(p); err != nil {
				return err
			}
			if st, err := os.Lstat(p); err == nil && st.Mode()&os.ModeSymlink != 0 {
				continue // where it leads is in the list as well
			}
			s.Mounts = append(s.Mounts, container.Mount{Type: "bind", Source: p, Target: p, ReadOnly: l.readOnly})
		}
	}
	return nil
}

// cwd is where the command starts. What lies in a directory that is fresh inside
// isn't there.
func (t *trial) cwd() (string, error) {
	if t.workdir != "" {
		if !filepath.IsAbs(t.workdir) {
			return filepath.Abs(t.workdir)
		}
		return filepath.Clean(t.workdir), nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "/", nil
	}
	for _, p := range sandbox.Fresh() {
		if (dir == p || strings.HasPrefix(dir, p+"/")) && !slices.Contains(t.rw, dir) {
			t.workdir = "/" // and it is said once
			tell([]string{fmt.Sprintf("%s is not in the sandbox, where %s is fresh: the command starts in / (--rw passes a directory through)", dir, p)})
			return "/", nil
		}
	}
	return dir, nil
}

// leftOut are variables that name what is in the fresh directories, or doors to
// what the sandbox is to be kept from.
var leftOut = []string{
	"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO",
	"WAYLAND_DISPLAY", "DISPLAY", "XAUTHORITY", "PULSE_SERVER", "TMPDIR", "TMP", "TEMP",
	"PLYFS_ROOT", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID",
}

// environment is ours but for leftOut, and what was asked for.
func (t *trial) environment() []string {
	var out []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !slices.Contains(leftOut, name) {
			out = append(out, e)
		}
	}
	for _, e := range t.env {
		if !strings.Contains(e, "=") {
			v, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + v
		}
		out = append(out, e)
	}
	return out
}
