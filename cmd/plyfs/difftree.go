package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/fs/union"
)

// What an upper is compared with is the union of its layers, mounted read-only
// where nobody else sees it. Who may mount, and may read files of subordinate
// ids, is root of a user namespace: a process of ours.

// diffJobName is what that process is asked to do.
const diffJobName = "diff"

// comparison is what it is told.
type comparison struct {
	Upper   string
	Options string // of the layers' union; "" are none
	Virtual bool
	Form    string
	Paths   []string
	Report  diffReport
	// Made are paths that were made for the container and not in it.
	Made []string
}

// diffContainer compares a container's upper with its layers.
func diffContainer(form string, c *container.Container, paths []string) error {
	st, err := c.State()
	if err != nil {
		return err
	}
	spec := c.Spec()
	if spec.Root.FS == "" {
		return fmt.Errorf("the root of container %s is the directory %s itself (--rootfs): there is no layer to compare it with", st.Name, spec.Root.Dir)
	}
	if st.Status == container.Running {
		if err := c.Sync(); err != nil {
			tell([]string{fmt.Sprintf("container %s could not be synced, what was written last may be missing: %v", st.Name, err)})
		}
	}
	cmp := comparison{
		Upper: filepath.Join(c.Dir(), "upper"), Options: spec.Root.FS, Virtual: spec.IDs.Virtual,
		Form: form, Paths: paths, Report: diffReport{Container: st.Name}, Made: c.Made(),
	}
	text, err := json.Marshal(cmp)
	if err != nil {
		return err
	}
	return c.AsRoot(diffJobName, string(text))
}

// diffDirectory compares an upper directory with layers.
func diffDirectory(form, dir string, lower, paths []string) error {
	if err := isDirectory("upper directory", dir); err != nil {
		return err
	}
	up, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	table, err := readMounts()
	if err != nil {
		return err
	}
	if m, ok := table.on(up); ok && m.fsType == fsType {
		return fmt.Errorf("%s is a mount of plyfs: give its upper directory", dir)
	}
	cmp := comparison{Upper: up, Form: form, Paths: paths, Report: diffReport{Directory: dir}}
	if len(lower) == 0 {
		return cmp.run(-1)
	}
	o := new(layer.Options)
	for _, l := range lower {
		abs, err := filepath.Abs(l)
		if err == nil {
			err = isDirectory("--lower", abs)
		}
		if err != nil {
			return err
		}
		o.Lower = append(o.Lower, abs)
	}
	cmp.Options = o.String()
	text, err := json.Marshal(cmp)
	if err != nil {
		return err
	}
	return container.AsUserRoot(diffJobName, string(text))
}

// diffJob is the process.
func diffJob(args []string) error {
	var cmp comparison
	if err := json.Unmarshal([]byte(args[0]), &cmp); err != nil {
		return err
	}
	o, _, err := layer.Parse([]string{cmp.Options}, true)
	if err != nil {
		return err
	}
	o.Upper, o.Work, o.ReadOnly = "", "", true
	below, err := mountedAside(o)
	if err != nil {
		return err
	}
	defer below.close()
	return cmp.run(below.fd)
}

// run prints the comparison with the tree that below is the top of.
func (cmp *comparison) run(below int) error {
	up, err := unix.Open(cmp.Upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", cmp.Upper, err)
	}
	defer unix.Close(up)
	v := &sandbox.View{Upper: up, Host: below, Fixed: true, Virtual: cmp.Virtual}
	changes, err := v.Changes(false)
	if err != nil {
		return err
	}
	changes = withoutMade(changes, cmp.Made)
	if changes, err = sandbox.Select(changes, cmp.Paths); err != nil {
		return err
	}
	return printDiff(v, changes, cmp.Form, cmp.Report)
}

// withoutMade leaves out what a start has made: empty objects at the paths, and
// directories that only lead to them.
func withoutMade(changes []sandbox.Change, made []string) []sandbox.Change {
	if len(made) == 0 {
		return changes
	}
	kept := map[string]bool{} // directories that have something else in them
	out := make([]sandbox.Change, 0, len(changes))
	for _, c := range slices.Backward(changes) { // what is in a directory before it
		leads := slices.ContainsFunc(made, func(m string) bool { return m == c.Path || strings.HasPrefix(m, c.Path+"/") })
		if c.Kind == sandbox.Added && leads && c.Size == 0 && !kept[c.Path] {
			continue
		}
		kept[path.Dir(c.Path)] = true
		out = append(out, c)
	}
	slices.Reverse(out)
	return out
}

// asideMount is a mount that only one thread of this process has.
type asideMount struct {
	fd   int
	done chan struct{} // closed to let go of it
	gone chan struct{}
}

// mountedAside mounts a read-only union in a mount namespace of a thread's own.
func mountedAside(o *layer.Options) (*asideMount, error) {
	fusefs.TuneProcess()
	stack, err := layer.Open(o)
	if err != nil {
		return nil, err
	}
	tree, err := union.New(stack, o)
	if err != nil {
		return nil, err
	}
	m := &asideMount{fd: -1, done: make(chan struct{}), gone: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(m.gone)
		runtime.LockOSThread() // for good: the thread ends, and the namespace with it
		dir := "/tmp"
		server, ended, err := m.mount(dir, o, tree)
		if err == nil {
			m.fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		ready <- err
		if server == nil {
			return
		}
		if err == nil {
			<-m.done
			unix.Close(m.fd)
		}
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		<-ended
		_ = tree.Close()
	}()
	if err := <-ready; err != nil {
		<-m.gone
		return nil, fmt.Errorf("the layers can't be mounted: %w", err)
	}
	return m, nil
}

func (m *asideMount) mount(dir string, o *layer.Options, tree *union.FS) (*fusefs.Server, chan error, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, nil, fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, nil, fmt.Errorf("mount propagation: %w", err)
	}
	userNS := sys.InUserNamespace()
	fd, err := fusefs.Mount(dir, o, userNS)
	if err != nil {
		return nil, nil, err
	}
	server := fusefs.NewServer(fd, tree, fusefs.Config{Options: o, UserNS: userNS})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve() }()
	if err := server.WaitReady(); err != nil {
		return server, ended, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	return server, ended, nil
}

func (m *asideMount) close() {
	close(m.done)
	<-m.gone
}
