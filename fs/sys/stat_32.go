//go:build arm || 386

package sys

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT64
