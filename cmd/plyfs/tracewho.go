package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// commands gives the names of a container's processes: the kernel tells its server
// their numbers as the container has them, which mean others in the server's /proc.
// One that has ended before the trace was read stays without a name.
type commands struct {
	of   *subject
	seen map[uint32]string
	read time.Time
}

// commandsKeep is how long names are believed: a process may become another
// program.
const commandsKeep = 20 * time.Millisecond

func (c *commands) get(pid uint32) string {
	if c.of.c == nil {
		return ""
	}
	if time.Since(c.read) > commandsKeep {
		c.read = time.Now()
		if c.seen == nil {
			c.seen = map[uint32]string{}
		}
		c.readAll()
	}
	return c.seen[pid]
}

// readAll reads the names of all processes in the container's namespace, and keeps
// those of the ones that have ended.
func (c *commands) readAll() {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.of.st.Init.PID))
	if err != nil {
		return
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if s, err := os.Readlink(dir + "/ns/pid"); err != nil || s != space {
			continue
		}
		text, _ := os.ReadFile(dir + "/status")
		name, inside := "", uint64(0)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
			switch key {
			case "Name":
				name = value
			case "NSpid":
				ids := strings.Fields(value)
				inside, _ = strconv.ParseUint(ids[len(ids)-1], 10, 32)
			}
		}
		if inside != 0 {
			c.seen[uint32(inside)] = name
		}
	}
}
