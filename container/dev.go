package container

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// standard are the device nodes that every program expects.
var standard = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3},
	{"zero", 1, 5},
	{"full", 1, 7},
	{"random", 1, 8},
	{"urandom", 1, 9},
	{"tty", 5, 0},
}

// devLinks are its symbolic links, and where they lead.
var devLinks = [...][2]string{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

// devMount is a filesystem below /dev.
type devMount struct {
	dir, fsType string
	attrs       int
	options     []string
}

// devOptions and scratchOptions are those of the two tmpfs.
var (
	devOptions     = []string{"mode=0755", "size=64m"}
	scratchOptions = []string{"size=4m", "mode=0755"}
)

const devAttrs = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC

func (o *order) devMounts() []devMount {
	pts := []string{"newinstance", "ptmxmode=0666", "mode=0620"}
	const ttyGroup = 5
	if o.Inner.mapsGroup(ttyGroup) {
		pts = append(pts, fmt.Sprintf("gid=%d", ttyGroup))
	}
	return []devMount{
		{"pts", "devpts", devAttrs, pts},
		{"shm", "tmpfs", inert, []string{"mode=1777", "size=64m"}},
		{"mqueue", "mqueue", inert, nil},
	}
}

// mountDev makes /dev: a tmpfs, so that nothing in the image has a say.
func (p *initProcess) mountDev() (err error) {
	if p.dev, err = p.mountAt("/dev", "tmpfs", devAttrs, devOptions...); err != nil {
		return err
	}
	for _, d := range standard {
		fd, err := p.device(d.name, d.major, d.minor)
		if err != nil {
			return err
		}
		err = p.mountNode(fd, d.name)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		if err := unix.Symlinkat(l[1], p.dev, l[0]); err != nil {
			return fmt.Errorf("/dev/%s: %w", l[0], err)
		}
	}
	for _, m := range p.devMounts() {
		fd, err := p.mountAt("/dev/"+m.dir, m.fsType, m.attrs, m.options...)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	if p.Spec.Process.Terminal {
		return p.openTerminal()
	}
	return nil
}

// device clones the mount of one of the host's nodes, and checks that it is
// the one.
func (p *initProcess) device(name string, major, minor uint32) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return -1, fmt.Errorf("the host's /dev/%s: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(major, minor) {
		unix.Close(fd)
		return -1, fmt.Errorf("the host's /dev/%s is not the device %d:%d", name, major, minor)
	}
	return fd, nil
}

// mountNode mounts fd on a new file of /dev.
func (p *initProcess) mountNode(fd int, name string) error {
	to, err := inroot.Touch(p.dev, name)
	if err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	defer unix.Close(to)
	if err := attach(fd, to); err != nil {
		return fmt.Errorf("mount /dev/%s: %w", name, err)
	}
	return nil
}

// mountDevices adds the devices that the user asked for.
func (p *initProcess) mountDevices() error {
	first := len(p.hostTrees()) - len(p.Spec.Devices)
	for i, d := range p.Spec.Devices {
		fd := p.trees[first+i]
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFCHR && kind != unix.S_IFBLK {
			return &failure{125, d.Source + " is not a device"}
		}
		err := p.mountOn(fd, path.Clean("/"+d.Target))
		unix.Close(fd)
		if err != nil {
			return &failure{125, fmt.Sprintf("device %s: %v", d.Source, err)}
		}
	}
	return nil
}

// openTerminal makes a terminal in the container's own devpts, gives its
// master to the monitor, and shows its other end as /dev/console. That end is
// asked for by descriptor: a name could have been replaced (CVE-2025-52565).
func (p *initProcess) openTerminal() error {
	master, err := inroot.OpenPlain(p.dev, "pts/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer unix.Close(master)
	if p.tty, err = otherEnd(master); err != nil {
		return err
	}
	p.Spec.Process.Size.set(master)
	fd, err := unix.OpenTree(p.tty, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer unix.Close(fd)
	if err := p.mountNode(fd, "console"); err != nil {
		return err
	}
	if err := p.monitor.send(message{What: "terminal"}, master); err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	return nil
}

// set gives a terminal that size, if it is known.
func (s Size) set(terminal int) {
	if s != (Size{}) {
		_ = unix.IoctlSetWinsize(terminal, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	}
}

// otherEnd opens the payload's end of a terminal.
func otherEnd(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, fmt.Errorf("terminal: unlock: %w", err)
	}
	tty, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return -1, fmt.Errorf("terminal: %w", e)
	}
	return int(tty), nil
}

// takeTTY makes a terminal the standard descriptors, and when control is given
// that of our session.
func takeTTY(tty, uid int, control bool) error {
	if control {
		if err := unix.IoctlSetInt(tty, unix.TIOCSCTTY, 0); err != nil {
			return fmt.Errorf("controlling terminal: %w", err)
		}
	}
	if err := unix.Fchown(tty, uid, -1); err != nil {
		return fmt.Errorf("the terminal's owner: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(tty, fd, 0); err != nil {
			return err
		}
	}
	return nil
}
