package container

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
	"github.com/plyfs/plyfs/fs/fail"
)

// initProcess is process 1 of a container until it becomes the payload. It is
// root in its user namespace till the end of build, and still has the host's
// tree before it till the end of pivot.
type initProcess struct {
	*order
	monitor peer
	stage   peer

	root    int    // O_PATH descriptor of the new root
	dev     int    // of its /dev
	sys     int    // of its /proc/sys, from before it became read-only
	scratch int    // a tmpfs of small files and an empty directory, mounted in pieces
	trees   []int  // detached mounts of hostTrees
	filter  []byte // the seccomp program
	tty     int    // the payload's end of the terminal, or -1
	user    identity
}

// runInit is init.
func runInit(open Opener) error {
	p := &initProcess{monitor: inherited(fdPeer), stage: inherited(fdInit), tty: -1}
	unix.CloseOnExec(fdOrder)
	err := p.run(open)
	f := asFailure(err) // there is no return without one
	_ = p.monitor.send(message{Failure: f})
	os.Exit(f.Code)
	return nil
}

func (p *initProcess) run(open Opener) (err error) {
	// Without a monitor nobody would know what becomes of us.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if p.order, err = readOrder(); err != nil {
		return err
	}
	unix.Umask(0o022)
	for _, step := range []func() error{
		func() error { return p.mountRoot(open) },
		p.joinGroup,
		p.build,
		p.pivot,
	} {
		if err := step(); err != nil {
			return err
		}
		fail.Point("init.step")
	}
	if p.Job != nil {
		return p.job()
	}
	if err := p.settle(); err != nil {
		return err
	}
	p.prefetch()
	if err := p.monitor.send(message{What: ready}); err != nil {
		return fmt.Errorf("the monitor is gone: %w", err)
	}
	fail.Point("init.ready")
	return p.become()
}

// ready is what init says last: an end of the socket after it is the start of
// the payload, and one before it the end of init.
const ready = "ready"

// mounted is what init says when it has its root and is asked to say so.
const mounted = "mounted"

// base are directories that a new root can be mounted on: the mount hides
// nothing from anybody else.
var base = []string{"/tmp", "/run", "/mnt", "/sys"}

func mountOn() string {
	for _, dir := range base {
		if unix.Access(dir, unix.X_OK) == nil {
			return dir
		}
	}
	return base[len(base)-1]
}

// mountRoot mounts the root, and hands the descriptor of a served one over.
func (p *initProcess) mountRoot(open Opener) error {
	// What the host mounts later may come in until we pivot, but nothing of
	// ours goes out.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount propagation: %w", err)
	}
	if !p.HostRoot { // before anything covers a path
		for _, t := range p.hostTrees() {
			fd, err := cloneTree(t.path, t.recursive)
			if err != nil {
				return err
			}
			p.trees = append(p.trees, fd)
		}
	}
	on := mountOn()
	if p.Spec.Root.FS != "" {
		fs, err := open(p.Spec.Root.FS, p.Dir)
		if err != nil {
			return err
		}
		fd, err := fs.Mount(on, !p.Inner.none())
		if err != nil {
			return err
		}
		err = p.stage.send(message{What: "root"}, fd)
		// Only the server may have it: whoever holds it can answer for the
		// whole tree, and keeps a dead server's mount waiting.
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("the process that serves the root: %w", err)
		}
	}
	if p.HostRoot {
		m, fds, err := p.stage.receive()
		if err != nil || m.What != "mounts" {
			return fmt.Errorf("the stage sent no mounts: %w", err)
		}
		p.trees = fds
		if m.Warning != "" {
			_ = p.monitor.send(message{Warning: m.Warning})
		}
	}
	p.stage.close()
	return p.openRoot(on)
}

// openRoot mounts a root that is a directory, and opens what is mounted.
func (p *initProcess) openRoot(on string) error {
	if p.Spec.Root.Dir != "" {
		fd := p.trees[0]
		to, err := unix.Open(on, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(to)
		if err := setFlags(fd, unix.MOUNT_ATTR_NODEV, true); err != nil {
			return err
		}
		if err := attach(fd, to); err != nil {
			return fmt.Errorf("mount %s: %w", p.Spec.Root.Dir, err)
		}
	}
	fd, err := unix.Open(on, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the root: %w", err)
	}
	p.root = fd
	return nil
}

// joinGroup waits until the monitor has put us into our cgroup and connected
// our network, and makes the namespaces that begin where we are then.
func (p *initProcess) joinGroup() error {
	if p.Guarded {
		if err := p.monitor.send(message{What: mounted}); err != nil {
			return fmt.Errorf("the monitor is gone: %w", err)
		}
	}
	m, _, err := p.monitor.receive()
	if err != nil {
		return fmt.Errorf("the monitor is gone: %w", err)
	}
	p.filter = m.Filter
	flags := unix.CLONE_NEWCGROUP
	if timeAtExec() {
		flags |= unix.CLONE_NEWTIME
	}
	if err := unix.Unshare(flags); err != nil {
		return namespaceError(err)
	}
	return nil
}

// pivot makes the new root ours and lets go of the host's tree.
func (p *initProcess) pivot() error {
	if err := unix.Fchdir(p.root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		if err == unix.EINVAL {
			return fmt.Errorf("pivot_root: %w: the host's root is an initramfs; switch_root to a real one first", err)
		}
		return fmt.Errorf("pivot_root: %w", err)
	}
	// The old root lies on top of the new one at the same place.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("the host's tree can't be let go: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return nothingBehind()
}

// nothingBehind makes sure that our root is the top: whatever else went wrong
// with the mounts, a payload is never started with the host's tree in reach.
func nothingBehind() error {
	var top, above unix.Statx_t
	for name, st := range map[string]*unix.Statx_t{"/": &top, "/..": &above} {
		if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_INO|unix.STATX_MNT_ID, st); err != nil {
			return fmt.Errorf("the new root: %w", err)
		}
	}
	if top.Mnt_id != above.Mnt_id || top.Ino != above.Ino {
		return errors.New("the host's tree is still behind the container's root: this is a fault in plyfs")
	}
	return nil
}

// settle does what is left to do as root, in the new tree.
func (p *initProcess) settle() error {
	if err := unix.Sethostname([]byte(p.Spec.Hostname)); err != nil {
		return fmt.Errorf("hostname %s: %w", p.Spec.Hostname, err)
	}
	if p.Spec.Net.Mode != NetHost {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if err := p.sysctls(); err != nil {
		return err
	}
	if err := p.readUser(); err != nil {
		return err
	}
	if err := p.enterCwd(); err != nil {
		return err
	}
	if p.Spec.Root.ReadOnly {
		if err := setFlags(p.root, unix.MOUNT_ATTR_RDONLY, false); err != nil {
			return fmt.Errorf("the root can't be made read-only: %w", err)
		}
	}
	if _, err := unix.Setsid(); err != nil {
		return err
	}
	if p.Spec.Process.Terminal {
		// With a reaper the session that it belongs to is the payload's.
		return takeTTY(p.tty, p.user.uid, !p.Spec.Init)
	}
	return nil
}

// enterCwd goes to the working directory, and makes it when it isn't there.
func (p *initProcess) enterCwd() error {
	dir := p.Spec.Process.Cwd
	if dir == "" {
		dir = "/"
	}
	fd, err := inroot.MkdirAll(p.root, dir)
	if err != nil {
		return &failure{126, fmt.Sprintf("working directory %v", err)}
	}
	return workIn(fd, dir)
}

// workIn makes an open directory the working directory, and closes it.
func workIn(fd int, dir string) error {
	defer unix.Close(fd)
	if err := unix.Fchdir(fd); err != nil {
		return &failure{126, fmt.Sprintf("working directory %s: %v", dir, err)}
	}
	return insideRoot()
}

// insideRoot refuses a working directory that lies outside of our root: the
// kernel then says so, and whoever starts there has the host before him
// (CVE-2024-21626).
func insideRoot() error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err != nil || n < 1 || buf[0] != '/' {
		return &failure{126, "the working directory is outside of the container"}
	}
	return nil
}

// loopbackUp switches lo on.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}
