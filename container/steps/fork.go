package steps

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// code is a list as the process sees it.
type code struct {
	ops     *op
	count   uintptr
	last    op
	results [maxResults + 1]uintptr // the last one is nobody's
	told    byte
}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// Start makes the process with these flags of clone(2). It begins when ready, which
// is told its pid, has returned nil; else it is killed, and is the caller's to
// reap if it is his child.
func (l *List) Start(flags uintptr, ready func(pid int) error) (pid int, err error) {
	if l.err != nil {
		return 0, fmt.Errorf("a list of system calls: %w", l.err)
	}
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return 0, errors.ErrUnsupported // statx words, and calls that differ
	}
	var wake [2]int
	if err := unix.Pipe2(wake[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(wake[1])
	c := &code{last: l.last}
	// It waits first. What closes descriptors comes later in the list.
	first := List{}
	first.Call(unix.SYS_CLOSE, wake[1])
	first.Call(unix.SYS_READ, wake[0], unsafe.Pointer(&c.told), 1).Least(1)
	ops := append(first.ops, l.ops...)
	for i := range ops[len(first.ops):] {
		if o := &ops[len(first.ops)+i]; o.other > 0 {
			o.other += uintptr(len(first.ops))
		}
	}
	c.ops, c.count = unsafe.SliceData(ops), uintptr(len(ops))
	syscall.ForkLock.Lock()
	got, e := fork(c, flags|uintptr(syscall.SIGCHLD))
	syscall.ForkLock.Unlock()
	unix.Close(wake[0])
	runtime.KeepAlive(ops)
	runtime.KeepAlive(l)
	if e != 0 {
		return 0, e
	}
	pid = int(got)
	err = ready(pid)
	if err == nil {
		_, err = unix.Write(wake[1], []byte{1})
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return pid, err
}

// fork is the part that two processes return from, one of them never. The child
// makes raw system calls on what lies in the code: no allocation, no lock, no
// growing stack.
//
//go:noinline
//go:norace
func fork(c *code, flags uintptr) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	run(c)
	return 0, 0
}

// run is what the child does; it doesn't return.
//
//go:noinline
//go:norace
//go:nosplit
func run(c *code) {
	pc := uintptr(0)
	for pc < c.count {
		o := (*op)(unsafe.Add(unsafe.Pointer(c.ops), pc*unsafe.Sizeof(op{})))
		r, e := call(c, o)
		switch {
		case e == uintptr(unix.EINTR):
			continue
		case e != 0:
			if o.other == 0 || o.errno != e && o.errno != uintptr(AnyError) {
				pc = c.count // the end, and a bad one
				continue
			}
			pc = o.other
		case r < o.least:
			pc = c.count
		default:
			*result(c, o.into) = r
			pc++
		}
	}
	call(c, &c.last)
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
}

// result is the place of one; an index that is checked could panic.
//
//go:norace
//go:nosplit
func result(c *code, i uintptr) *uintptr {
	return (*uintptr)(unsafe.Add(unsafe.Pointer(&c.results), i*unsafe.Sizeof(i)))
}

//go:norace
//go:nosplit
func arg(c *code, o *op, i uintptr) uintptr {
	v := *(*uintptr)(unsafe.Add(unsafe.Pointer(&o.args), i*unsafe.Sizeof(i)))
	if o.from&(1<<(i&63)) != 0 {
		return *result(c, v)
	}
	return v
}

// call makes one.
//
//go:noinline
//go:norace
//go:nosplit
func call(c *code, o *op) (r, errno uintptr) {
	switch o.nr {
	case opCheck:
		if uintptr(*(*uint32)(o.mem[0]))&o.args[0] != o.args[1] {
			return 0, uintptr(Unlike)
		}
		return 0, 0
	case opSame:
		if *(*uint64)(o.mem[0]) != *(*uint64)(o.mem[1]) {
			return 0, uintptr(Unlike)
		}
		return 0, 0
	case opLoad:
		return uintptr(*(*uint32)(o.mem[0])), 0
	case opAdd:
		return arg(c, o, 0) + o.args[1], 0
	case opStore:
		*(*uintptr)(o.mem[0]) = arg(c, o, 0)
		return 0, 0
	case opJump:
		return 0, uintptr(Unlike)
	}
	r, _, e := syscall.RawSyscall6(o.nr, arg(c, o, 0), arg(c, o, 1), arg(c, o, 2), arg(c, o, 3), arg(c, o, 4), arg(c, o, 5))
	return r, uintptr(e)
}
