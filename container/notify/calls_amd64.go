package notify

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

var calls = []call{
	{nr: unix.SYS_CHOWN, ids: []int{1, 2}, notify: true},
	{nr: unix.SYS_LCHOWN, ids: []int{1, 2}, notify: true},
	{nr: unix.SYS_FCHOWN, ids: []int{1, 2}, notify: true},
	{nr: unix.SYS_FCHOWNAT, ids: []int{2, 3}, notify: true},
	{nr: unix.SYS_MKNOD, mode: 1, dev: 2, notify: true},
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
func where(nr int32) (c place, ok bool) {
	switch nr {
	case unix.SYS_CHOWN:
		return place{path: 0, uid: 1, gid: 2, dirfd: -1, flags: -1, follow: true}, true
	case unix.SYS_LCHOWN:
		return place{path: 0, uid: 1, gid: 2, dirfd: -1, flags: -1}, true
	case unix.SYS_MKNOD:
		return place{path: 0, mode: 1, dev: 2, dirfd: -1, flags: -1}, true
	}
	return common(nr)
}
