package layer

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mountIDOld reads the mount id from /proc, for kernels whose statx doesn't
// give it.
func mountIDOld(fd int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, fmt.Errorf("no mnt_id in fdinfo of %d", fd)
}
