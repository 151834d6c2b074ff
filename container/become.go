package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/notify"
)

// credentials are what a thread gives itself before it becomes a payload. They
// belong to the thread: the caller has locked it.
type credentials struct {
	process   *Process
	who       identity
	setGroups bool // the user namespace lets us
	scope     bool // keep out of the host's abstract sockets
	filter    []byte
	notify    bool
	listener  int // with notify: for notify.Serve
}

// take gives up whatever the payload isn't to have. The order is the point:
// each step needs a right that a later one gives up.
func (c *credentials) take() error {
	mask, err := capMask(c.process.Caps)
	if err != nil {
		return err
	}
	if err := setRlimits(c.process.Rlimits); err != nil {
		return err
	}
	if err := dropBounding(mask); err != nil {
		return err
	}
	if !c.process.NewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
		if c.scope {
			landlockScope()
		}
	} else if err := setFilter(c.filter); err != nil { // wants CAP_SYS_ADMIN, which we have now
		return err
	}
	if err := c.setIDs(); err != nil {
		return err
	}
	if c.who.uid != 0 {
		mask = 0
	}
	have, err := ownCaps()
	if err != nil {
		return err
	}
	if err := setCaps(mask & have); err != nil {
		return err
	}
	// Changing ids has cleared this.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if c.notify {
		if c.listener, err = notify.Install(); err != nil {
			return err
		}
	}
	if !c.process.NewPrivs {
		return setFilter(c.filter)
	}
	return nil
}

// setIDs changes this thread's ids alone; the functions of the library would
// change those of all threads.
func (c *credentials) setIDs() error {
	if c.setGroups {
		groups := make([]uint32, 0, len(c.who.groups)+1)
		for _, g := range c.who.groups {
			groups = append(groups, uint32(g))
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); e != 0 {
			return fmt.Errorf("supplementary groups: %w", e)
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	uid, gid := uintptr(c.who.uid), uintptr(c.who.gid)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return fmt.Errorf("group %d: %w", c.who.gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		return fmt.Errorf("user %d: %w", c.who.uid, e)
	}
	return unix.Prctl(unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
}

// setFilter has the kernel judge this thread's system calls by a program.
func setFilter(program []byte) error {
	if len(program) == 0 {
		return nil
	}
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	prog := unix.SockFprog{
		Len:    uint16(len(program) / size),
		Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(program))),
	}
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

// landlockScope keeps the payload from the abstract sockets of the host, which
// belong to the network namespace that it shares (CVE-2020-15257). Kernels
// before 6.12 can't.
func landlockScope() {
	attr := struct{ fs, net, scoped uint64 }{scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return
	}
	defer unix.Close(int(fd))
	unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}

// become makes init the payload; it returns only when it can't.
func (p *initProcess) become() error {
	env := p.Spec.Process.environment(p.Spec.Hostname, p.user.home)
	c := &credentials{
		process: &p.Spec.Process, who: p.user, filter: p.filter,
		setGroups: !p.Inner.single(), scope: p.Spec.Net.Mode == NetHost,
		notify: p.Spec.Process.Notify && p.Inner.single(),
	}
	if p.Slack > 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, p.Slack, 0, 0, 0)
	}
	if err := c.take(); err != nil {
		return err
	}
	if p.Spec.Init {
		return p.reap(env, c)
	}
	return replace(p.Spec.Process.Args, env)
}

// replace executes args, whose first word is looked for as a shell does.
func replace(args, env []string) error {
	// Nothing of ours may be open in the payload, whoever opened it
	// (CVE-2024-21626).
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	_, err := eachCandidate(args[0], env, func(path string) (int, error) {
		return 0, syscall.Exec(path, args, env)
	})
	return err
}

// eachCandidate tries the files that name can mean, until one isn't missing.
func eachCandidate(name string, env []string, try func(path string) (int, error)) (int, error) {
	denied := error(nil)
	for _, path := range candidates(name, env) {
		pid, err := try(path)
		switch {
		case err == nil:
			return pid, nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			continue
		case errors.Is(err, unix.EACCES):
			denied = err // a later directory may have one that works
			continue
		case errors.Is(err, unix.ENOEXEC):
			return 0, &failure{126, fmt.Sprintf("%s is not a program for this machine, or a script without a #! line", path)}
		}
		return 0, &failure{126, fmt.Sprintf("%s: %v", path, err)}
	}
	if denied != nil {
		return 0, &failure{126, fmt.Sprintf("%s: %v", name, denied)}
	}
	return 0, &failure{127, fmt.Sprintf("%s: not found in the container", name)}
}

func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var out []string
	for _, dir := range filepath.SplitList(getenv(env, "PATH")) {
		if filepath.IsAbs(dir) { // a relative one would depend on where we stand
			out = append(out, filepath.Join(dir, name))
		}
	}
	return out
}

func getenv(env []string, name string) string {
	for _, e := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// DefaultPath is a payload's PATH when nothing is said.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is Env with what every program expects.
func (p *Process) environment(hostname, home string) []string {
	defaults := []string{"PATH=" + DefaultPath, "HOSTNAME=" + hostname, "HOME=" + home, "container=plyfs"}
	if p.Terminal {
		defaults = append(defaults, "TERM=xterm")
	}
	var out []string
	for _, d := range defaults {
		name, _, _ := strings.Cut(d, "=")
		if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			out = append(out, d)
		}
	}
	return append(out, p.Env...)
}

// rlimitNumbers are those that all architectures number alike.
var rlimitNumbers = map[string]int{
	"cpu": unix.RLIMIT_CPU, "fsize": unix.RLIMIT_FSIZE, "data": unix.RLIMIT_DATA, "stack": unix.RLIMIT_STACK,
	"core": unix.RLIMIT_CORE, "rss": unix.RLIMIT_RSS, "nproc": unix.RLIMIT_NPROC, "nofile": unix.RLIMIT_NOFILE,
	"memlock": unix.RLIMIT_MEMLOCK, "as": unix.RLIMIT_AS, "locks": unix.RLIMIT_LOCKS,
	"sigpending": unix.RLIMIT_SIGPENDING, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
}

// setRlimits sets the limits of this process.
func setRlimits(limits []Rlimit) error {
	for _, l := range limits {
		n, ok := rlimitNumbers[l.Name]
		if !ok {
			return &failure{125, fmt.Sprintf("ulimit %s is not known", l.Name)}
		}
		if err := unix.Setrlimit(n, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			hint := ""
			if errors.Is(err, unix.EPERM) {
				hint = ": only root may raise the hard limit"
			}
			return &failure{125, fmt.Sprintf("ulimit %s: %v%s", l.Name, err, hint)}
		}
	}
	return nil
}

// reap is process 1 for a payload that isn't made for it: it starts the
// payload, passes signals on, and waits for every orphan. It ends as the payload
// ended.
func (p *initProcess) reap(env []string, c *credentials) error {
	// The monitor takes the end of its socket for the start of the payload.
	return attendChild(p.Spec.Process.Args, env, p.tty >= 0, c, p.monitor.close)
}

// attendChild starts a payload as a child of this process, which stays to pass
// signals on, to reap, and to answer the system calls that are caught, and ends
// as the payload ended. It returns only when the payload can't be started;
// started is called when it was.
func attendChild(args, env []string, tty bool, c *credentials, started func()) error {
	pid, err := eachCandidate(args[0], env, func(path string) (int, error) {
		if err := unix.Access(path, unix.F_OK); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return 0, err // not worth a fork
		}
		return syscall.ForkExec(path, args, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{
			Setsid: tty, Setctty: tty, Pdeathsig: unix.SIGKILL,
		}})
	})
	if err != nil {
		return err
	}
	signals := CatchSignals() // the monitor passes none on before the next line
	started()
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(syscall.Signal))
		}
	}()
	if c.notify {
		go func() { _ = notify.Serve(c.listener) }() // with an error the callers get ENOSYS
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got == pid {
			os.Exit(exitCode(ws))
		}
	}
}
