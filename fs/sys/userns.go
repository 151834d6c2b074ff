package sys

import (
	"fmt"
	"os"
)

// InUserNamespace says whether this process is root of another user namespace
// than the first one, where it may mount by itself.
func InUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	var inside, outside, length uint64
	n, err := fmt.Sscan(string(text), &inside, &outside, &length)
	whole := n == 3 && err == nil && inside == 0 && outside == 0 && length == 1<<32-1
	return !whole && os.Geteuid() == 0
}
