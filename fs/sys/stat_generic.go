//go:build arm64 || riscv64 || loong64

package sys

import "golang.org/x/sys/unix"

const (
	sysFstatat = unix.SYS_FSTATAT
	sysFstat   = unix.SYS_FSTAT
)
