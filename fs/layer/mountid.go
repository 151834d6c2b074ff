package layer

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/fs/sys"
)

// mountID gives the id of the mount that fd was opened through, or 0 where it
// can't be had.
func mountID(fd int) uint64 {
	if id := sys.MountID(fd, ""); id != 0 {
		return id
	}
	// Before Linux 5.8 only /proc has it.
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			id, _ := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			return id
		}
	}
	return 0
}
