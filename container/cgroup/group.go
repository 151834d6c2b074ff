package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Group is the cgroups of one container. It can be stored; nil is a container
// without any.
type Group struct {
	V1 map[string]string `json:",omitempty"` // controller to directory
	V2 string            `json:",omitempty"`
	// Scope is systemd's unit around V2, where systemd runs.
	Scope string `json:",omitempty"`

	refused string // why there is no scope
}

// always are the version 1 controllers that every container gets where they can
// be had: they count, stop, say what ran out of memory, and forbid devices.
var always = []string{"memory", "pids", "freezer", "cpu", "cpuacct", "devices"}

// Plan says which groups a container called name is to have with these limits.
// It makes none: whoever makes them writes the plan down first, so that they
// are found should he be killed meanwhile.
func Plan(name string, l Limits) *Group {
	h := detect()
	g := &Group{V1: map[string]string{}}
	want := l.controllers()
	for _, c := range union(always, want) {
		if own, ok := h.v1[c]; ok && unix.Access(own, unix.W_OK) == nil {
			g.V1[c] = filepath.Join(own, name)
		}
	}
	if h.v2 != "" && systemd() != nil && h.has2("memory") {
		g.Scope = name + ".scope"
	} else if parent := h.parent2(want); parent != "" {
		g.V2 = filepath.Join(parent, name)
	}
	return g
}

// Create makes what was planned, sets the limits, and puts a process into it. A
// group that can't be made and that no limit asks for is dropped from g. A
// warning is a limit that is not enforced. Where the group is systemd's, the
// keepers (this process, and others that work for the container) go into the
// scope beside it.
func (g *Group) Create(l Limits, pid int, keepers ...int) (warnings []string, err error) {
	want := l.controllers()
	made := map[string]bool{} // several controllers may share a hierarchy
	for _, c := range slices.Sorted(maps.Keys(g.V1)) {
		dir := g.V1[c]
		if !made[dir] {
			if err := mkdir(dir); err != nil {
				delete(g.V1, c)
				if slices.Contains(want, c) {
					return nil, fmt.Errorf("cgroup: %w", err)
				}
				continue
			}
			made[dir] = true
		}
		if c == "cpuset" {
			inherit(filepath.Dir(dir), dir)
		}
	}
	switch {
	case g.Scope != "":
		if err := g.enterScope(pid, want, keepers); err != nil {
			g.Scope, g.V2, g.refused = "", "", err.Error()
		}
	case g.V2 != "" && mkdir(g.V2) != nil:
		g.V2 = ""
	}
	h := detect()
	if warnings, err = g.Set(l, &h); err != nil {
		return nil, err
	}
	return warnings, g.Add(pid)
}

func mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) { // left by a monitor that was killed
		if err = removeGroup(dir); err == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	return err
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// inherit fills a new version 1 cpuset, which is empty and takes no process.
func inherit(from, to string) {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(from, f))
		if err == nil {
			_ = os.WriteFile(filepath.Join(to, f), text, 0)
		}
	}
}

// parent2 is the cgroup of version 2 to make a group in: the nearest one above
// us that we may write and that hands the controllers down. One with
// processes of its own can't, save the top; so it is seldom our own.
func (h *host) parent2(want []string) string {
	if h.v2 == "" {
		return ""
	}
	wanted := slices.DeleteFunc(union(usual, want), func(c string) bool { return !h.has2(c) })
	best, most := "", -1
	for dir := h.v2; ; dir = filepath.Dir(dir) {
		if unix.Access(dir, unix.W_OK) != nil || unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) != nil {
			break
		}
		if n := handDown(dir, wanted); n > most {
			best, most = dir, n
		}
		if most == len(wanted) || dir == h.v2Top {
			break
		}
	}
	return best
}

// usual are the version 2 controllers that every group is to have.
var usual = []string{"memory", "pids", "cpu"}

// handDown has a cgroup hand controllers down, and counts those that it does.
func handDown(dir string, wanted []string) int {
	for _, c := range wanted {
		if !slices.Contains(controllers(dir, "cgroup.subtree_control"), c) {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
		}
	}
	down := controllers(dir, "cgroup.subtree_control")
	return len(slices.DeleteFunc(slices.Clone(wanted), func(c string) bool { return !slices.Contains(down, c) }))
}

// dirs are all directories of the group, each once.
func (g *Group) dirs() []string {
	if g == nil {
		return nil
	}
	var out []string
	for _, d := range slices.Sorted(maps.Values(g.V1)) {
		out = union(out, []string{d})
	}
	if g.V2 != "" {
		out = append(out, g.V2)
	}
	return out
}

// Empty says that there is no cgroup.
func (g *Group) Empty() bool { return len(g.dirs()) == 0 && (g == nil || g.Scope == "") }

// Add puts a process into the group. The kernel waits for a grace period in
// each hierarchy, so they are asked all at once.
func (g *Group) Add(pid int) error {
	dirs := g.dirs()
	errs := make([]error, len(dirs))
	var wg sync.WaitGroup
	for i, dir := range dirs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			if errors.Is(err, unix.EACCES) && g.Scope != "" && dir == g.V2 {
				err = g.attach(pid)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				errs[i] = fmt.Errorf("cgroup: %w", err)
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Kill ends every process of the group at once, where the kernel can do that
// (version 2).
func (g *Group) Kill() {
	if g != nil && g.V2 != "" {
		_ = os.WriteFile(filepath.Join(g.V2, "cgroup.kill"), []byte("1"), 0)
	}
}

// Remove removes the group. Its processes must have ended; the kernel may need
// a moment to notice. A scope goes by itself when it is empty.
func (g *Group) Remove() error {
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, removeGroup(dir))
	}
	return errors.Join(errs...)
}

func removeGroup(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || wait > 2*time.Second:
			return fmt.Errorf("cgroup %s can't be removed: %w", dir, err)
		}
		if below, err := filepath.Glob(dir + "/*/cgroup.procs"); err == nil {
			for _, b := range below { // made by the payload's own init system
				_ = removeGroup(filepath.Dir(b))
			}
		}
		time.Sleep(wait)
	}
}

// read gives a file's text, "" when it can't be had.
func read(dir, file string) string {
	if dir == "" {
		return ""
	}
	text, _ := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(text))
}

// field is the number after a word in a file of pairs.
func field(text, word string) (uint64, bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == word {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// OOMKilled says whether the kernel has ended a process of the group because
// its memory was used up.
func (g *Group) OOMKilled() bool {
	if g == nil {
		return false
	}
	if n, ok := field(read(g.V1["memory"], "memory.oom_control"), "oom_kill"); ok && n > 0 {
		return true
	}
	n, ok := field(read(g.V2, "memory.events"), "oom_kill")
	return ok && n > 0
}

// CanFreeze says whether the group can be stopped as a whole.
func (g *Group) CanFreeze() bool {
	if g == nil {
		return false
	}
	if g.V1["freezer"] != "" {
		return true
	}
	return g.V2 != "" && unix.Access(filepath.Join(g.V2, "cgroup.freeze"), unix.W_OK) == nil
}

// Freeze stops every process of the group, or lets them go on, and returns
// when that is so.
func (g *Group) Freeze(stop bool) error {
	if !g.CanFreeze() {
		return errors.New("no cgroup of the container can be frozen: as a user that needs a delegated cgroup version 2")
	}
	file, value, done := filepath.Join(g.V2, "cgroup.freeze"), "0", func() bool {
		n, ok := field(read(g.V2, "cgroup.events"), "frozen")
		return ok && (n == 1) == stop
	}
	if stop {
		value = "1"
	}
	if dir := g.V1["freezer"]; dir != "" {
		state := "THAWED"
		if stop {
			state = "FROZEN"
		}
		file, value = filepath.Join(dir, "freezer.state"), state
		done = func() bool { return read(dir, "freezer.state") == state }
	}
	for wait := time.Millisecond; wait < 4*time.Second; wait *= 2 {
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		if done() {
			return nil
		}
		time.Sleep(wait)
	}
	return errors.New("some process of the container does not stop")
}
