package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/container/cgroup/scope"
)

// systemd is a variable for tests only.
var systemd = scope.Find

// payload is the group in a scope: the scope itself stays systemd's, and no
// group with processes can hand controllers down.
const payload = "payload"

// enterScope has systemd make the scope with the process in it, and moves it on
// into a group of ours.
func (g *Group) enterScope(pid int, want []string) error {
	m := systemd()
	if m == nil {
		return fmt.Errorf("systemd has gone")
	}
	if err := m.Start(g.Scope, ownSlice(pathsOf(procSelf)[""], os.Geteuid()), pid); err != nil {
		return err
	}
	// Where it is depends on the slice: the process knows.
	h := detectOf("/proc/" + strconv.Itoa(pid))
	if filepath.Base(h.v2) != g.Scope {
		return fmt.Errorf("systemd made %s, and process %d is in %s", g.Scope, pid, h.v2)
	}
	g.V2 = filepath.Join(h.v2, payload)
	if err := os.Mkdir(g.V2, 0o755); err != nil {
		return fmt.Errorf("the scope isn't ours: %w", err)
	}
	if err := os.WriteFile(filepath.Join(g.V2, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("the scope isn't ours: %w", err)
	}
	for _, c := range union([]string{"memory", "pids", "cpu"}, want) {
		// One that isn't there shows when its limit is set.
		_ = os.WriteFile(filepath.Join(h.v2, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
	return nil
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
