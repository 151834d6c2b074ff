package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// otherUser looks for another implementation that has the upper mounted: the
// kernel's overlayfs in any mount namespace that we can see, and fuse-overlayfs,
// which has it in its arguments. plyfs itself is known by its locks.
func otherUser(upper *os.File) string {
	self, err := upper.Stat()
	if err != nil {
		return ""
	}
	is := func(proc, path string) bool {
		at := filepath.Join(proc, "root", path)
		if !filepath.IsAbs(path) {
			at = filepath.Join(proc, "cwd", path)
		}
		fi, err := os.Stat(at)
		return err == nil && os.SameFile(self, fi)
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	seen := map[string]bool{}
	for _, p := range procs {
		if args, err := os.ReadFile(p + "/cmdline"); err == nil && bytes.Contains(args, []byte("fuse-overlayfs")) {
			for _, dir := range upperOptions(strings.ReplaceAll(string(args), "\x00", ",")) {
				if is(p, dir) {
					return fmt.Sprintf("by process %s, fuse-overlayfs", filepath.Base(p))
				}
			}
		}
		ns, err := os.Readlink(p + "/ns/mnt")
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		f, err := os.Open(p + "/mountinfo")
		if err != nil {
			continue
		}
		found, err := mountinfo.GetMountsFromReader(f, mountinfo.FSTypeFilter("overlay"))
		_ = f.Close()
		if err != nil {
			continue
		}
		for _, m := range found {
			for _, dir := range upperOptions(m.VFSOptions) {
				if is(p, dir) {
					return "on " + m.Mountpoint + ", by overlayfs"
				}
			}
		}
	}
	return ""
}

// upperOptions are the values of upperdir= in an option text. The kernel shows a
// comma in a path as \054, and in arguments it has a backslash before it.
func upperOptions(text string) (dirs []string) {
	for {
		_, rest, ok := strings.Cut(text, "upperdir=")
		if !ok {
			return dirs
		}
		var dir strings.Builder
		i := 0
		for ; i < len(rest) && rest[i] != ','; i++ {
			if rest[i] == '\\' && i+3 < len(rest) {
				if n, err := strconv.ParseUint(rest[i+1:i+4], 8, 8); err == nil {
					dir.WriteByte(byte(n))
					i += 3
					continue
				}
			}
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
			}
			dir.WriteByte(rest[i])
		}
		dirs, text = append(dirs, dir.String()), rest[i:]
	}
}
