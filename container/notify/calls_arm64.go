package notify

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

var calls = []call{
	{nr: unix.SYS_FCHOWN, ids: []int{1, 2}, notify: true},
	{nr: unix.SYS_FCHOWNAT, ids: []int{2, 3}, notify: true},
	{nr: unix.SYS_MKNODAT, mode: 2, dev: 3, notify: true},
	{nr: unix.SYS_SETUID, ids: []int{0}},
	{nr: unix.SYS_SETGID, ids: []int{0}},
	{nr: unix.SYS_SETREUID, ids: []int{0, 1}},
	{nr: unix.SYS_SETREGID, ids: []int{0, 1}},
	{nr: unix.SYS_SETRESUID, ids: []int{0, 1, 2}},
	{nr: unix.SYS_SETRESGID, ids: []int{0, 1, 2}},
	{nr: unix.SYS_SETGROUPS, always: true},
}

// where says which arguments of a caught call are which.
func where(nr int32) (c place, ok bool) { return common(nr) }
