package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ProcessInfo is a process of a container, as the host sees it.
type ProcessInfo struct {
	PID, PPID, UID int // UID: in the container
	CPU            time.Duration
	Command        string
}

// Processes lists the processes of a running container.
func (c *Container) Processes() ([]ProcessInfo, error) {
	st, err := c.running()
	if err != nil {
		return nil, err
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", st.Init.PID))
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", st.Name, err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []ProcessInfo
	for _, dir := range dirs {
		if s, err := os.Readlink(dir + "/ns/pid"); err != nil || s != space {
			continue
		}
		if p, ok := readProcess(dir, st); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// ticks is USER_HZ, which is 100 on every machine that Go runs on.
const ticks = 100

func readProcess(dir string, st *State) (p ProcessInfo, ok bool) {
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, false
	}
	s := string(text)
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return p, false
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 13 {
		return p, false
	}
	p.PID, _ = strconv.Atoi(filepath.Base(dir))
	p.PPID, _ = strconv.Atoi(f[1])
	user, _ := strconv.ParseInt(f[11], 10, 64)
	sys, _ := strconv.ParseInt(f[12], 10, 64)
	p.CPU = time.Duration(user+sys) * time.Second / ticks
	p.Command = "[" + s[open+1:end] + "]"
	if words, err := os.ReadFile(dir + "/cmdline"); err == nil && len(words) > 0 {
		p.Command = strings.TrimSpace(strings.ReplaceAll(string(words), "\x00", " "))
	}
	p.UID = insideUID(statusUID(dir), st)
	return p, true
}

func statusUID(dir string) int {
	text, _ := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Uid:" {
			n, _ := strconv.Atoi(f[2])
			return n
		}
	}
	return -1
}

// insideUID is a user of the host as the container numbers him.
func insideUID(id int, st *State) int {
	for _, m := range [][]idMap{st.Outer.UID, st.Inner.UID} {
		for _, l := range m {
			if id >= l.Outside && id-l.Outside < l.Size {
				id = l.Inside + id - l.Outside
				break
			}
		}
	}
	return id
}
