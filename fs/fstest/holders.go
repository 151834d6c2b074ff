package fstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// holders lists what keeps a mount busy, as far as it can be seen: the
// descriptors, directories and mappings of processes.
func holders(dir string) string {
	var out []string
	in := func(p string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		links, _ := filepath.Glob(proc + "/fd/*")
		for _, l := range append(links, proc+"/cwd", proc+"/root", proc+"/exe") {
			if to, err := os.Readlink(l); err == nil && in(to) {
				out = append(out, l+" -> "+to)
			}
		}
		maps, _ := os.ReadFile(proc + "/maps")
		for line := range strings.Lines(string(maps)) {
			if f := strings.Fields(line); len(f) > 5 && in(f[5]) {
				out = append(out, proc+" maps "+f[5])
			}
		}
	}
	if out == nil {
		return "nobody to be seen holds it"
	}
	return fmt.Sprintf("held by %s", strings.Join(out, ", "))
}
