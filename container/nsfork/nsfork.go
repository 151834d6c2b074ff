package nsfork

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Command is what to start, and where.
type Command struct {
	PidFD      int     // of the process whose namespaces are entered
	Namespaces uintptr // CLONE_NEW… flags
	Root       bool    // become root of the entered user namespace
	Program    int     // descriptor of the program, an ELF file
	Args, Env  []string
	Files      []int // the program's descriptors from 0 on
}

// plan is the same with nothing to allocate: what the child may touch.
type plan struct {
	pidfd, namespaces, program uintptr
	root                       uintptr
	argv, env                  uintptr
	empty                      uintptr
	files                      [8]uintptr
	count                      uintptr
	report                     uintptr // pipe for the answer
	answer                     answer
}

// empty is the path that stands for the descriptor itself.
var empty byte

// answer is what the child writes: the program's pid, or at which step what
// failed.
type answer struct {
	pid, step, errno uintptr
}

var steps = [...]string{"", "setns", "setgid", "setuid", "fork"}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// Start starts the command as a child of this process and gives its pid. That
// the program can't be executed shows as its exit with 126.
func Start(c *Command) (int, error) {
	if len(c.Files) > len(plan{}.files) {
		return 0, fmt.Errorf("at most %d descriptors", len(plan{}.files))
	}
	argv, err := syscall.SlicePtrFromStrings(c.Args)
	if err != nil {
		return 0, err
	}
	env, err := syscall.SlicePtrFromStrings(c.Env)
	if err != nil {
		return 0, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(pipe[0])
	p := &plan{
		pidfd: uintptr(c.PidFD), namespaces: c.Namespaces, program: uintptr(c.Program),
		argv: uintptr(unsafe.Pointer(&argv[0])), env: uintptr(unsafe.Pointer(&env[0])), empty: uintptr(unsafe.Pointer(&empty)),
		report: uintptr(pipe[1]), count: uintptr(len(c.Files)),
	}
	if c.Root {
		p.root = 1
	}
	// Above what the child puts in place, so that nothing is overwritten.
	for i, f := range c.Files {
		fd, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 2*len(plan{}.files))
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		p.files[i] = uintptr(fd)
	}
	syscall.ForkLock.Lock()
	first, e := fork(p)
	syscall.ForkLock.Unlock()
	unix.Close(pipe[1])
	runtime.KeepAlive(argv)
	runtime.KeepAlive(env)
	if e != 0 {
		return 0, fmt.Errorf("fork: %w", e)
	}
	var a answer
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&a)), unsafe.Sizeof(a))
	n := readAll(pipe[0], buf)
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(first), &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	switch {
	case n != len(buf):
		return 0, fmt.Errorf("the process that enters the namespaces ended: %v", ws)
	case a.errno != 0:
		return 0, fmt.Errorf("%s: %w", steps[a.step], syscall.Errno(a.errno))
	}
	return int(a.pid), nil
}

func readAll(fd int, buf []byte) int {
	got := 0
	for got < len(buf) {
		n, err := unix.Read(fd, buf[got:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			break
		}
		got += n
	}
	return got
}

// fork is the part that two processes return from, one of them never. Between
// the two hooks of the runtime the child makes raw system calls on what lies in
// the plan: no allocation, no lock, no growing stack.
//
//go:noinline
//go:norace
func fork(p *plan) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	inChild(p)
	return 0, 0
}

// inChild is what the child does; it has no stack to spare.
//
//go:noinline
//go:norace
//go:nosplit
func inChild(p *plan) {
	var e syscall.Errno
	var pid uintptr
	step := uintptr(1)
	if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, p.pidfd, p.namespaces, 0); e != 0 {
		goto done
	}
	if p.root != 0 {
		// With one id there are no groups to give up, and it is refused.
		syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		step = 2
		if _, _, e = syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); e != 0 {
			goto done
		}
		step = 3
		if _, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != 0 {
			goto done
		}
	}
	step = 4
	pid, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD)|unix.CLONE_PARENT, 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		for i := uintptr(0); i < p.count; i++ {
			if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, p.files[i], i, 0); e != 0 {
				syscall.RawSyscall(unix.SYS_EXIT_GROUP, 126, 0, 0)
			}
		}
		syscall.RawSyscall6(unix.SYS_EXECVEAT, p.program, p.empty, p.argv, p.env, unix.AT_EMPTY_PATH, 0)
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 126, 0, 0)
	}
done:
	p.answer.pid, p.answer.step, p.answer.errno = pid, step, uintptr(e)
	syscall.RawSyscall(unix.SYS_WRITE, p.report, uintptr(unsafe.Pointer(&p.answer)), unsafe.Sizeof(p.answer))
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}
