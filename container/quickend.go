package container

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/nofile"
)

// pivot makes the new root ours and lets go of the host's tree.
func (q *quickInit) pivot() error {
	q.Call(unix.SYS_FCHDIR, q.root)
	q.Call(unix.SYS_PIVOT_ROOT, ".", ".")
	q.Call(unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	q.Call(unix.SYS_CHDIR, "/")
	q.mount(unix.MS_REC | unix.MS_PRIVATE)
	// Nothing is behind it.
	top, above := new(unix.Statx_t), new(unix.Statx_t)
	q.statx(unix.AT_FDCWD, "/", 0, unix.STATX_INO|unix.STATX_MNT_ID, top)
	q.statx(unix.AT_FDCWD, "/..", 0, unix.STATX_INO|unix.STATX_MNT_ID, above)
	q.Same(unsafe.Pointer(&top.Mnt_id), unsafe.Pointer(&above.Mnt_id))
	q.Same(unsafe.Pointer(&top.Ino), unsafe.Pointer(&above.Ino))
	q.point("init.step")
	return nil
}

// settle does what is left to do as root, in the new tree.
func (q *quickInit) settle() error {
	name := q.Spec.Hostname
	q.Call(unix.SYS_SETHOSTNAME, name, len(name))
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	q.Call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).Into(q.fd)
	q.Call(unix.SYS_IOCTL, q.fd, unix.SIOCSIFFLAGS, unsafe.Pointer(lo))
	q.close(q.fd)
	dir := q.Spec.Process.Cwd
	if dir == "" {
		dir = "/"
	}
	q.openIn(dir, unix.O_PATH|unix.O_DIRECTORY).Into(q.fd)
	q.Call(unix.SYS_FCHDIR, q.fd)
	q.close(q.fd)
	// Inside of our root (CVE-2024-21626).
	buf := new([unix.PathMax]byte)
	q.Call(unix.SYS_GETCWD, unsafe.Pointer(buf), len(buf)).Least(1)
	q.Check(unsafe.Pointer(buf), 0xff, '/') // the first byte
	if q.Spec.Root.ReadOnly {
		q.setFlags(q.root, unix.MOUNT_ATTR_RDONLY, false)
	}
	q.Call(unix.SYS_SETSID)
	q.Call(q.sends(quickMonitor, message{What: ready}))
	q.point("init.ready")
	return nil
}

// become gives up what the payload isn't to have, in the order of
// credentials.take, and makes the process the payload.
func (q *quickInit) become() error {
	p := &q.Spec.Process
	if q.Slack > 0 {
		q.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, q.Slack, 0, 0, 0)
	}
	mask, err := capMask(p.Caps)
	if err != nil {
		return err
	}
	if err := q.limits(); err != nil {
		return err
	}
	for c := 0; ; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil {
			break // beyond the kernel's last one
		}
		if c >= 64 || mask&(1<<c) == 0 {
			q.Call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		}
	}
	q.Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if !q.Inner.single() {
		q.Call(unix.SYS_SETGROUPS, q.Load(unsafe.Pointer(&q.reply.count)).Result(), unsafe.Pointer(&q.reply.groups))
	}
	q.Call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	q.Call(unix.SYS_SETRESGID, 0, 0, 0)
	q.Call(unix.SYS_SETRESUID, 0, 0, 0)
	q.Call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	lo, hi := uint32(mask), uint32(mask>>32)
	data := &[2]unix.CapUserData{{Effective: lo, Permitted: lo}, {Effective: hi, Permitted: hi}}
	q.Call(unix.SYS_CAPSET, unsafe.Pointer(header), unsafe.Pointer(data))
	q.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL), 0, 0, 0)
	if q.isFiltered() {
		q.Call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, unsafe.Pointer(q.filter))
	}
	q.Call(unix.SYS_CLOSE_RANGE, 3, ^uintptr(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	env := p.environment(q.Spec.Hostname, "")
	argv, envp := q.Texts(p.Args), q.Texts(env)
	if i := ownHome(env, len(p.Env)); i >= 0 {
		envp[i] = &q.reply.home[0]
	}
	for _, name := range candidates(p.Args[0], env) {
		try := q.Call(unix.SYS_EXECVE, name, unsafe.Pointer(&argv[0]), unsafe.Pointer(&envp[0]))
		try.Or(unix.ENOENT) // anything else is the program's
	}
	return nil
}

// limits are those of the payload, first of all the one that the Go runtime has
// raised.
func (q *quickInit) limits() error {
	soft, hard := nofile.Found()
	q.limit(unix.RLIMIT_NOFILE, soft, hard)
	for _, l := range q.Spec.Process.Rlimits {
		n, ok := rlimitNumbers[l.Name]
		if !ok {
			return &failure{125, "ulimit " + l.Name + " is not known"}
		}
		q.limit(n, l.Soft, l.Hard)
	}
	return nil
}

func (q *quickInit) limit(n int, soft, hard uint64) {
	q.Call(unix.SYS_PRLIMIT64, 0, n, unsafe.Pointer(&unix.Rlimit{Cur: soft, Max: hard}), 0)
}

// ownHome is where the environment has the HOME that the databases say, or -1:
// what was given comes last.
func ownHome(env []string, given int) int { return slices.Index(env[:len(env)-given], "HOME=") }
