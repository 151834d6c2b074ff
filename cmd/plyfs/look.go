package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
)

// Looking at what a server does: stats, top, trace and metrics read the memory
// that it counts in (package meter). It is found among the descriptors in /proc of
// the server, its keeper, or the container's monitor. So the kernel judges who may
// look: whoever may debug those processes. That is their user and root, and nobody
// in a container: neither has it these processes in its /proc, nor rights over
// them (decision 0096).

// subject is a mount that can be looked at.
type subject struct {
	name string // its mount point, or the container's name
	dev  string // major:minor; of a container: empty
	c    *container.Container
	st   *container.State

	*meter.Meter
	server int // process id, 0: not known
}

// close lets go of subjects.
func closeAll(list []*subject) {
	for _, s := range list {
		_ = s.Close()
	}
}

// holder is a process with a meter among its descriptors.
type holder struct {
	label string
	pid   int
	path  string
}

// holders finds the processes among pids (all: nil) that hold meters whose label
// is wanted. Those of others are passed over.
func holders(pids []string, wanted func(label string) bool) (out []holder) {
	if pids == nil {
		all, _ := filepath.Glob("/proc/[0-9]*")
		for _, p := range all {
			pids = append(pids, filepath.Base(p))
		}
	}
	for _, pid := range pids {
		dir := "/proc/" + pid + "/fd"
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			path := dir + "/" + fd.Name()
			to, err := os.Readlink(path)
			if err != nil {
				continue
			}
			label, ok := strings.CutPrefix(strings.TrimSuffix(to, " (deleted)"), "/memfd:"+meter.Prefix)
			if ok && wanted(label) {
				h := holder{label: label, path: path}
				_, _ = fmt.Sscan(pid, &h.pid)
				out = append(out, h)
			}
		}
	}
	return out
}

// open maps a meter that some of the holders hold: the one of the server, where
// there is another that a server before has left.
func open(list []holder) (best *meter.Meter, server int, err error) {
	for _, h := range list {
		m, e := meter.Open(h.path)
		if e != nil {
			err = e
			continue
		}
		if server = int(m.PID.Load()); server == h.pid {
			_ = best.Close()
			return m, server, nil
		}
		if best != nil {
			_ = m.Close()
			continue
		}
		best = m
	}
	if best != nil {
		return best, 0, nil
	}
	return nil, 0, err
}

// lookAtMount finds the meter of the mount on dir.
func lookAtMount(dir string) (*subject, error) {
	m, err := findMount(dir)
	if err != nil {
		return nil, err
	}
	list := holders(nil, func(label string) bool { return label == m.dev })
	if len(list) == 0 {
		return nil, fmt.Errorf("the mount on %s can't be looked at: no process that serves it is yours (its user or root may look at it, from outside of containers), or that is of an older plyfs", dir)
	}
	s := &subject{name: m.dir, dev: m.dev}
	if s.Meter, s.server, err = open(list); err != nil {
		return nil, fmt.Errorf("mount on %s: %w", dir, err)
	}
	return s, nil
}

// lookAtContainer finds the meter of a container's root.
func lookAtContainer(c *container.Container) (*subject, error) {
	st, err := c.State()
	if err != nil {
		return nil, err
	}
	s := &subject{name: st.Name, c: c, st: st}
	switch {
	case st.Status != container.Running && st.Status != container.Paused:
		return nil, fmt.Errorf("container %s is not running", st.Name)
	case c.Spec().Root.FS == "":
		return nil, fmt.Errorf("the root of container %s is the directory %s itself (--rootfs): nothing of plyfs serves it", st.Name, c.Spec().Root.Dir)
	}
	label := strings.TrimPrefix(container.CountersName(c.ID), meter.Prefix)
	pid := fmt.Sprint(st.Monitor.PID)
	list := holders([]string{pid}, func(l string) bool { return l == label })
	if len(list) == 0 {
		return nil, fmt.Errorf("container %s can't be looked at: its monitor (process %s) is another user's, or of an older plyfs", st.Name, pid)
	}
	if s.Meter, _, err = open(list); err != nil {
		return nil, fmt.Errorf("container %s: %w", st.Name, err)
	}
	s.server = st.Stage.PID
	return s, nil
}

// lookAt finds what a word names: a mount point, or a container.
func lookAt(root, word string) (*subject, error) {
	if isPath(word) {
		return lookAtMount(word)
	}
	store, err := openStore(root)
	if err != nil {
		return nil, err
	}
	c, err := store.Find(word)
	if err == nil {
		return lookAtContainer(c)
	}
	if errors.Is(err, container.ErrNotFound) {
		if table, e := readMounts(); e == nil {
			abs, _ := filepath.Abs(word)
			if _, ok := table.on(abs); ok {
				return lookAtMount(word)
			}
		}
	}
	return nil, err
}

// mountsToLookAt are all mounts of this user, in the order of their names. One
// that is only in another mount namespace is named by its device number.
func mountsToLookAt() (out []*subject, err error) {
	table, err := readMounts()
	if err != nil {
		return nil, err
	}
	byDev := map[string][]holder{}
	for _, h := range holders(nil, func(l string) bool { return strings.Contains(l, ":") }) {
		byDev[h.label] = append(byDev[h.label], h)
	}
	for dev, list := range byDev {
		s := &subject{name: dev, dev: dev}
		for _, m := range table {
			if m.dev == dev && m.fsType == fsType {
				s.name = m.dir
				break
			}
		}
		if s.Meter, s.server, err = open(list); err != nil {
			continue // of another version, or it has just ended
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *subject) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// containersToLookAt are those that run and can be looked at.
func containersToLookAt(root string) (out []*subject, err error) {
	store, err := openStore(root)
	if err != nil {
		return nil, err
	}
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if s, err := lookAtContainer(c); err == nil {
			out = append(out, s)
		}
	}
	return out, nil
}

// subjects are those that words name, or all there are.
func subjects(root string, words []string) (out []*subject, err error) {
	if len(words) == 0 {
		if out, err = mountsToLookAt(); err != nil {
			return nil, err
		}
		more, err := containersToLookAt(root)
		return append(out, more...), err
	}
	for _, w := range words {
		s, err := lookAt(root, w)
		if err != nil {
			closeAll(out)
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// gone says that there is nothing to look at any more.
func (s *subject) gone() error {
	if s.c != nil {
		if st, err := s.c.State(); err != nil || st.Status != container.Running && st.Status != container.Paused {
			return fmt.Errorf("container %s has ended", s.name)
		}
		return nil
	}
	table, err := readMounts()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(table, func(m mountLine) bool { return m.dev == s.dev }) {
		return fmt.Errorf("the mount on %s is gone", s.name)
	}
	return nil
}
