//go:build amd64 || s390x || ppc64 || ppc64le

package sys

import "golang.org/x/sys/unix"

const (
	sysFstatat = unix.SYS_NEWFSTATAT
	sysFstat   = unix.SYS_FSTAT
)
