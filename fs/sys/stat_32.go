//go:build arm || 386

package sys

import "golang.org/x/sys/unix"

const (
	sysFstatat = unix.SYS_FSTATAT64
	sysFstat   = unix.SYS_FSTAT64 // SYS_FSTAT fills in an older, shorter struct
)
