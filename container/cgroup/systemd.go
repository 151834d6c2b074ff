package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/cgroup/scope"
)

// systemd is a variable for tests only.
var systemd = scope.Find

// The groups in a scope: the payload's, and that of the monitor and of the
// server of the root. The scope itself stays systemd's, and no group with
// processes can hand controllers down. Systemd deletes all of it when the last
// process is gone, so the monitor is in it: it has to read what became of the
// payload.
const (
	payload = "payload"
	keeping = "plyfs"
)

// enterScope has systemd make the scope with the processes in it, and moves them
// on into groups of ours.
func (g *Group) enterScope(pid int, want []string, keepers []int) error {
	self := pathsOf(procSelf)[""]
	if filepath.Base(filepath.Dir(self)) != g.Scope { // else it is started again by its monitor
		m := systemd()
		if m == nil {
			return errors.New("systemd has gone")
		}
		if err := m.Start(g.Scope, ownSlice(self, os.Geteuid()), append([]int{pid}, keepers...)...); err != nil {
			return err
		}
	}
	// Where it is depends on the slice: the process knows.
	h := detectOf("/proc/" + strconv.Itoa(pid))
	top := h.v2
	if filepath.Base(top) == keeping { // born there
		top = filepath.Dir(top)
	}
	if filepath.Base(top) != g.Scope {
		return fmt.Errorf("systemd made %s, and process %d is in %s", g.Scope, pid, top)
	}
	g.V2 = filepath.Join(top, payload)
	err := join(filepath.Join(top, keeping), keepers...)
	if err == nil {
		err = join(g.V2, pid)
	}
	if err != nil {
		return fmt.Errorf("the scope isn't ours: %w", err)
	}
	if os.Geteuid() == 0 {
		// Some controllers systemd doesn't know (hugetlb), and leaves alone.
		enableAbove(h.v2Top, top, slices.DeleteFunc(want, func(c string) bool { return !h.has2(c) }))
	}
	handDown(top, union(usual, want)) // one that isn't there shows when its limit is set
	return nil
}

// join puts processes into a group, which is made when it isn't there.
func join(dir string, pids ...int) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, pid := range pids {
		err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// enableAbove has all cgroups from the top to the parent of dir hand
// controllers down.
func enableAbove(top, dir string, wanted []string) {
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return
	}
	at := top
	for _, part := range strings.Split(rel, "/") {
		handDown(at, wanted)
		at = filepath.Join(at, part)
	}
}

// attach has systemd move a process into the scope: a user may not move one
// from a group that has no parent of his in common with it, as that of a login.
func (g *Group) attach(pid int) error {
	m := systemd()
	if m == nil {
		return fmt.Errorf("systemd has gone, and only it may move processes into %s", g.Scope)
	}
	return m.Attach(g.Scope, "/"+payload, pid)
}

// ownSlice is the slice that a process with this path is in, as far as its
// manager knows it: limits of a service hold for what it starts. What root
// starts from a login isn't part of the login and outlives it.
func ownSlice(path string, uid int) string {
	if uid != 0 {
		_, below, ok := strings.Cut(path, fmt.Sprintf("/user@%d.service/", uid))
		if !ok {
			return ""
		}
		path = below
	} else if strings.HasPrefix(path, "/user.slice/") {
		return ""
	}
	slice := ""
	for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
		if !strings.HasSuffix(part, ".slice") {
			break
		}
		slice = part
	}
	return slice
}
