package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Outlook says which controllers a container of this user would have, and which
// it would not; how is where they would come from. It changes nothing.
func Outlook() (have, lack []string, how string) {
	h := detect()
	from := map[string]bool{}
	for _, c := range []string{"memory", "cpu", "pids", "cpuset", "io", "hugetlb"} {
		if by := h.outlook(c); by != "" {
			have, from[by] = append(have, c), true
		} else {
			lack = append(lack, c)
		}
	}
	for _, by := range []string{fromSystemd, fromSubtree, fromOld} {
		if from[by] {
			how = strings.TrimPrefix(how+", "+by, ", ")
		}
	}
	return have, lack, how
}

const (
	fromSystemd = "a scope of systemd"
	fromSubtree = "a cgroup that is yours"
	fromOld     = "version 1"
)

func (h *host) outlook(controller string) string {
	old := controller
	if old == "io" {
		old = "blkio"
	}
	if dir := h.v1[old]; dir != "" {
		if unix.Access(dir, unix.W_OK) != nil {
			return ""
		}
		return fromOld
	}
	if !h.has2(controller) {
		return ""
	}
	if systemd() != nil {
		uid := os.Geteuid()
		theirs := filepath.Join(h.v2Top, fmt.Sprintf("user.slice/user-%d.slice/user@%d.service", uid, uid))
		if uid == 0 || slices.Contains(controllers(theirs, "cgroup.controllers"), controller) {
			return fromSystemd
		}
		return ""
	}
	for dir := h.v2; unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil; dir = filepath.Dir(dir) {
		// Our own has processes, so it hands nothing down: only one above it does.
		if dir != h.v2 && slices.Contains(controllers(dir, "cgroup.controllers"), controller) || dir == h.v2Top {
			return fromSubtree
		}
	}
	return ""
}
