package notify

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is how one system call is caught.
type call struct {
	nr   uint32
	ids  []int // arguments that are ids
	mode int   // argument that is the mode of mknod; 0 is none
	dev  int   // argument that is the device number
	// notify sends it to Serve; else it is answered with success.
	notify bool
	always bool // whatever the arguments are
}

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retDone   = unix.SECCOMP_RET_ERRNO // with errno 0
	retNotify = unix.SECCOMP_RET_USER_NOTIF
)

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func jump(code uint16, k uint32, jt, jf int) unix.SockFilter {
	return unix.SockFilter{Code: code, K: k, Jt: uint8(jt), Jf: uint8(jf)}
}

const (
	ld   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	and  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	ret  = unix.BPF_RET | unix.BPF_K
	noID = 0xffffffff
)

// low is the offset of the low half of an argument; ids, modes and device
// numbers have no other.
func low(arg int) uint32 { return uint32(offArgs + 8*arg) } // little endian: all that we run on

// program is the filter for a table of calls.
func program(arch uint32, calls []call) []unix.SockFilter {
	p := []unix.SockFilter{
		stmt(ld, offArch),
		jump(jeq, arch, 1, 0),
		stmt(ret, retAllow), // another way to call the kernel: nothing is pretended there
		stmt(ld, offNr),
	}
	for _, c := range calls {
		body := c.body()
		p = append(p, jump(jeq, c.nr, 0, len(body)))
		p = append(p, body...)
	}
	return append(p, stmt(ret, retAllow))
}

// body is what follows when the call is c; it ends with a return on every way.
func (c *call) body() []unix.SockFilter {
	hit := uint32(retDone)
	if c.notify {
		hit = retNotify
	}
	if c.always {
		return []unix.SockFilter{stmt(ret, hit)}
	}
	if c.mode > 0 {
		return []unix.SockFilter{
			stmt(ld, low(c.mode)),
			stmt(and, unix.S_IFMT),
			jump(jeq, unix.S_IFBLK, 3, 0),
			jump(jeq, unix.S_IFCHR, 0, 3),
			stmt(ld, low(c.dev)), // 0:0 is what whiteouts look like: the kernel answers
			jump(jeq, 0, 1, 0),
			stmt(ret, hit),
			stmt(ret, retAllow),
		}
	}
	var b []unix.SockFilter
	for _, a := range c.ids {
		b = append(b,
			stmt(ld, low(a)),
			jump(jeq, 0, 2, 0),
			jump(jeq, noID, 1, 0),
			stmt(ret, hit),
		)
	}
	return append(b, stmt(ret, retAllow))
}

// Install puts the filter on the calling thread, which must be locked to its
// goroutine, have no_new_privs set (or CAP_SYS_ADMIN) and be the one that will
// exec. The listener goes to Serve.
func Install() (listener int, err error) {
	if auditArch == 0 {
		return -1, fmt.Errorf("no seccomp user notification for %s", runtime.GOARCH)
	}
	p := program(auditArch, calls)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	if e != 0 {
		return -1, fmt.Errorf("seccomp user notification: %w", e)
	}
	return int(fd), nil
}
