package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// host is where this process is in the hierarchies of the machine.
type host struct {
	v1 map[string]string // controller to the directory of our cgroup
	v2 string            // directory of our cgroup, "" without version 2
	// v2Top is where the version 2 hierarchy is mounted.
	v2Top string
}

// procSelf is a variable for tests only.
var procSelf = "/proc/self"

// detect reads /proc/self/cgroup and mountinfo.
func detect() host { return detectOf(procSelf) }

// detectOf is where the process with this directory in /proc is.
func detectOf(proc string) host {
	h := host{v1: map[string]string{}}
	paths := pathsOf(proc)
	text, _ := os.ReadFile(filepath.Join(procSelf, "mountinfo"))
	for line := range strings.Lines(string(text)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(r) < 3 {
			continue
		}
		root, on := unescape(f[3]), unescape(f[4])
		switch r[0] {
		case "cgroup2":
			if own, ok := paths[""]; ok && h.v2 == "" {
				h.v2, h.v2Top = below(on, root, own), on
			}
		case "cgroup":
			for _, c := range strings.Split(r[2], ",") {
				if own, ok := paths[c]; ok && h.v1[c] == "" {
					h.v1[c] = below(on, root, own)
				}
			}
		}
	}
	return h
}

// pathsOf maps controllers to a process's path in their hierarchy; version 2 is
// "".
func pathsOf(proc string) map[string]string {
	out := map[string]string{}
	text, _ := os.ReadFile(filepath.Join(proc, "cgroup"))
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out
}

// below is the directory of a cgroup in a mount that shows the hierarchy from
// root on.
func below(mount, root, own string) string {
	rel, err := filepath.Rel(root, own)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return mount // we are outside of what is mounted: its top is the nearest
	}
	return filepath.Join(mount, rel)
}

// unescape undoes mountinfo's \040 and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s // a replacer for each of them costs more than reading the file
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// controllers are what a version 2 cgroup has, by file.
func controllers(dir, file string) []string {
	text, _ := os.ReadFile(filepath.Join(dir, file))
	return strings.Fields(string(text))
}

// has says whether the version 2 hierarchy has a controller at all.
func (h *host) has2(controller string) bool {
	return h.v2 != "" && slices.Contains(controllers(h.v2Top, "cgroup.controllers"), controller)
}
