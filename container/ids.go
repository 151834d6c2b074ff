package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// idMap is one line of an id map: Size ids from Inside, seen from within the
// namespace, are those from Outside in its parent.
type idMap struct{ Inside, Outside, Size int }

// idMaps are those of a user namespace; both are empty where none is made.
type idMaps struct{ UID, GID []idMap }

func (m idMaps) none() bool { return len(m.UID) == 0 }

// single says that only one user is mapped.
func (m idMaps) single() bool { return len(m.UID) == 1 && m.UID[0].Size == 1 }

// shifted says that ids inside are other numbers outside.
func (m idMaps) shifted() bool {
	return slices.ContainsFunc(append(slices.Clone(m.UID), m.GID...), func(l idMap) bool { return l.Inside != l.Outside })
}

func (m idMaps) equal(o idMaps) bool { return slices.Equal(m.UID, o.UID) && slices.Equal(m.GID, o.GID) }

// identity is the map of a child namespace with the same ids.
func (m idMaps) identity() idMaps {
	same := func(lines []idMap) (out []idMap) {
		for _, l := range lines {
			out = append(out, idMap{l.Inside, l.Inside, l.Size})
		}
		return out
	}
	return idMaps{same(m.UID), same(m.GID)}
}

// mapsUser and mapsGroup say whether an id can be used inside.
func (m idMaps) mapsUser(id int) bool  { return m.none() || covers(m.UID, id) }
func (m idMaps) mapsGroup(id int) bool { return m.none() || covers(m.GID, id) }

func covers(lines []idMap, id int) bool {
	for _, l := range lines {
		if id >= l.Inside && id-l.Inside < l.Size {
			return true
		}
	}
	return false
}

func sysMap(lines []idMap) []syscall.SysProcIDMap {
	out := make([]syscall.SysProcIDMap, 0, len(lines))
	for _, l := range lines {
		out = append(out, syscall.SysProcIDMap{ContainerID: l.Inside, HostID: l.Outside, Size: l.Size})
	}
	return out
}

// IDs65536 is how many ids a container of root's has: as many as images use.
const IDs65536 = 65536

// The ids of containers that root starts: a range of their own each, beyond
// what login and systemd give out. No file is ever stored with one of them.
const (
	rangeSize  = IDs65536
	rangeFirst = 0x70000000
	rangeCount = (0x7fff0000 - rangeFirst) / rangeSize
)

// chooseMaps decides which ids a container gets. slot picks root's range.
func chooseMaps(ids IDs, slot int) (outer, inner idMaps, err error) {
	if os.Geteuid() != 0 {
		if ids.Host {
			return outer, inner, errors.New("only root can run a container without a user namespace: leave --userns host out")
		}
		outer = userMaps(ids.Single)
		return outer, outer.identity(), nil
	}
	if ids.Host {
		return outer, inner, nil
	}
	if whole, own := ownMaps(); !whole {
		if ids.Single {
			own = idMaps{[]idMap{{0, 0, 1}}, []idMap{{0, 0, 1}}}
		}
		return outer, own.identity(), nil
	}
	size := rangeSize
	if ids.Single {
		size = 1
	}
	line := []idMap{{0, rangeFirst + slot*rangeSize, size}}
	return outer, idMaps{line, line}, nil
}

// userMaps are root (the user himself), and his subordinate ids as far as he has
// some and the programs that map them.
func userMaps(single bool) idMaps {
	m := idMaps{
		UID: []idMap{{0, os.Geteuid(), 1}},
		GID: []idMap{{0, os.Getegid(), 1}},
	}
	if single {
		return m
	}
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := lookTool(tool); err != nil {
			return m
		}
	}
	id := strconv.Itoa(os.Getuid())
	name := id
	if u, err := user.LookupUid(os.Getuid()); err == nil {
		name = u.Name
	}
	mine := func(e user.SubID) bool { return e.Name == name || e.Name == id }
	uids, gids := subordinate("/etc/subuid", mine), subordinate("/etc/subgid", mine)
	if len(uids) > 0 && len(gids) > 0 {
		m.UID, m.GID = append(m.UID, uids...), append(m.GID, gids...)
	}
	return m
}

// subordinate reads the ranges of a user.
func subordinate(file string, his func(user.SubID) bool) []idMap {
	ranges, err := user.ParseSubIDFileFilter(file, his)
	if err != nil {
		return nil
	}
	var out []idMap
	next := 1
	for _, r := range ranges {
		if r.Count > 0 && r.SubID > 0 && r.Count < 1<<31 {
			out = append(out, idMap{next, int(r.SubID), int(r.Count)})
			next += int(r.Count)
		}
	}
	return out
}

// ownMaps are those of the namespace that this process is in; whole says that
// it is the initial one.
func ownMaps() (whole bool, m idMaps) {
	m.UID, m.GID = readMap("/proc/self/uid_map"), readMap("/proc/self/gid_map")
	return len(m.UID) == 1 && int64(m.UID[0].Size) == 1<<32-1, m
}

func readMap(file string) (out []idMap) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		var l idMap
		if n, _ := fmt.Sscan(line, &l.Inside, &l.Outside, &l.Size); n == 3 {
			out = append(out, l)
		}
	}
	return out
}

// write sets the maps of a process that was made in a new user namespace.
func (m idMaps) write(pid int) error {
	w, err := m.start(pid)
	if err != nil {
		return err
	}
	return w.wait()
}

// start begins to write them: newuidmap and newgidmap do it; a single id of his
// own a user may map himself.
func (m idMaps) start(pid int) (mapping, error) {
	if m.single() && len(m.GID) == 1 && m.GID[0].Size == 1 {
		return nil, m.writeSingle(pid)
	}
	// Both at once, and nothing of os/exec: its pipes and threads would take
	// longer than the programs.
	var all mapping
	for tool, lines := range map[string][]idMap{"newuidmap": m.UID, "newgidmap": m.GID} {
		one, err := startMapper(tool, pid, lines)
		if err != nil {
			return nil, errors.Join(err, all.wait())
		}
		all = append(all, one)
	}
	return all, nil
}

func (m idMaps) writeSingle(pid int) error {
	dir := "/proc/" + strconv.Itoa(pid)
	if err := os.WriteFile(dir+"/setgroups", []byte("deny"), 0); err != nil {
		return fmt.Errorf("user namespace: %w", err)
	}
	for _, f := range []struct {
		name string
		line idMap
	}{{"/uid_map", m.UID[0]}, {"/gid_map", m.GID[0]}} {
		if err := os.WriteFile(dir+f.name, fmt.Appendf(nil, "%d %d 1", f.line.Inside, f.line.Outside), 0); err != nil {
			return fmt.Errorf("user namespace: %w", err)
		}
	}
	return nil
}

// mapping are the programs that write the maps of a process.
type mapping []*mapper

func (all mapping) wait() error {
	var errs []error
	for _, m := range all {
		errs = append(errs, m.wait())
	}
	return errors.Join(errs...)
}

// tools are the paths of programs that were looked for already.
var tools sync.Map

func lookTool(name string) (string, error) {
	if path, ok := tools.Load(name); ok {
		return path.(string), nil
	}
	path, err := exec.LookPath(name)
	if err == nil {
		tools.Store(name, path)
	}
	return path, err
}

// mapper is a running newuidmap or newgidmap.
type mapper struct {
	tool string
	pid  int
	said *os.File
}

func startMapper(tool string, pid int, lines []idMap) (*mapper, error) {
	path, err := lookTool(tool)
	if err != nil {
		return nil, err
	}
	args := []string{tool, strconv.Itoa(pid)}
	for _, l := range lines {
		args = append(args, strconv.Itoa(l.Inside), strconv.Itoa(l.Outside), strconv.Itoa(l.Size))
	}
	fd, err := unix.MemfdCreate("plyfs-"+tool, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	m := &mapper{tool: tool, said: os.NewFile(uintptr(fd), tool)}
	out := uintptr(fd)
	if m.pid, err = syscall.ForkExec(path, args, &syscall.ProcAttr{Files: []uintptr{out, out, out}}); err != nil {
		m.said.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// wait can be called again, and does nothing then.
func (m *mapper) wait() error {
	if m.pid == 0 {
		return nil
	}
	defer m.said.Close()
	ws := wait(m.pid)
	m.pid = 0
	if exitCode(ws) == 0 {
		return nil
	}
	text := make([]byte, 1000)
	n, _ := m.said.ReadAt(text, 0)
	return fmt.Errorf("%s: exit status %d: %s (check /etc/subuid and /etc/subgid, or give --userns single)", m.tool, exitCode(ws), strings.TrimSpace(string(text[:n])))
}
