package container

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// build mounts everything into the new root. The old one must still be there:
// the kernel shows a new proc or sysfs only to who has a whole one already.
func (p *initProcess) build() error {
	for _, step := range []func() error{
		p.mountProc, p.mountScratch, p.mountDev, p.mountSys,
		p.mountFiles, p.mountVolumes, p.mountDevices, p.mask,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// place opens a directory of the new root that must be no symbolic link, and
// makes it where it is missing: an image whose /dev leads elsewhere would have
// us work there (CVE-2026-41579).
func (p *initProcess) place(dir string) (int, error) {
	fd, err := inroot.OpenPlain(p.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		if fd, err = inroot.MkdirAll(p.root, path.Dir(dir)); err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		if err := unix.Mkdirat(fd, path.Base(dir), 0o755); err != nil {
			return -1, fmt.Errorf("%s can't be made in the root: %w", dir, err)
		}
		fd, err = inroot.OpenPlain(p.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	}
	if errors.Is(err, unix.ELOOP) {
		return -1, fmt.Errorf("%s is a symbolic link in the root; it must be a directory", dir)
	}
	return fd, err
}

// mountAt makes a filesystem and mounts it on dir; the result stays open.
func (p *initProcess) mountAt(dir, fsType string, attrs int, options ...string) (int, error) {
	fd, err := newMount(fsType, attrs, options...)
	if err != nil {
		return -1, err
	}
	to, err := p.place(dir)
	if err != nil {
		return -1, err
	}
	defer unix.Close(to)
	if err := attach(fd, to); err != nil {
		return -1, fmt.Errorf("mount %s: %w", dir, err)
	}
	return fd, nil
}

func (p *initProcess) mountProc() error {
	proc, err := p.mountAt("/proc", "proc", inert)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: parts of the host's own /proc are hidden (is this a container?); start the outer one with an unmasked /proc", err)
	}
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	p.sys, err = inroot.OpenPlain(proc, "sys", unix.O_PATH|unix.O_DIRECTORY)
	return err
}

// mountScratch makes the tmpfs of the small things. It lies in the old tree,
// because only an attached mount can be cloned, and goes with it.
func (p *initProcess) mountScratch() (err error) {
	if p.scratch, err = newMount("tmpfs", inert, scratchOptions...); err != nil {
		return err
	}
	old, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	if err := attach(p.scratch, old); err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	return unix.Mkdirat(p.scratch, "empty", 0o555)
}

// piece is a clone of something in the scratch, to be mounted elsewhere.
func (p *initProcess) piece(name string) (int, error) {
	return unix.OpenTree(p.scratch, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

// mountSys mounts sysfs, which belongs to the network namespace: without one
// of our own it is the host's, read-only. No version 1 hierarchy is shown, and
// version 2 read-only: release_agent and its kin are out of reach
// (CVE-2022-0492).
func (p *initProcess) mountSys() error {
	var fd int
	err := error(unix.EPERM)
	if p.Spec.Net.Mode != NetHost {
		fd, err = p.mountAt("/sys", "sysfs", inert|unix.MOUNT_ATTR_RDONLY)
	}
	if errors.Is(err, unix.EPERM) {
		err = p.bindSys()
	}
	if err != nil {
		return err
	}
	if fd != 0 {
		unix.Close(fd)
	}
	cg, err := inroot.OpenPlain(p.root, "/sys/fs/cgroup", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil //nolint:nilerr // a kernel without cgroups
	}
	defer unix.Close(cg)
	var st unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		fd, err := newMount("cgroup2", inert|unix.MOUNT_ATTR_RDONLY)
		if err == nil {
			defer unix.Close(fd)
			return attach(fd, cg)
		}
	}
	return p.hide(cg)
}

// bindSys mounts the host's sysfs with all that lies on it.
func (p *initProcess) bindSys() error {
	fd, err := cloneTree("/sys", true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := setFlags(fd, inert|unix.MOUNT_ATTR_RDONLY, true); err != nil {
		return fmt.Errorf("/sys: %w", err)
	}
	to, err := p.place("/sys")
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return attach(fd, to)
}

// mountFiles mounts the texts that the host gives into the container.
func (p *initProcess) mountFiles() error {
	for i, name := range slices.Sorted(maps.Keys(p.Spec.Files)) {
		file := fmt.Sprintf("file%d", i)
		fd, err := unix.Openat(p.scratch, file, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_, err = unix.Write(fd, []byte(p.Spec.Files[name]))
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := p.mountPiece(file, name); err != nil {
			return err
		}
	}
	return nil
}

func (p *initProcess) mountPiece(piece, name string) error {
	fd, err := p.piece(piece)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	to, err := inroot.Touch(p.root, name)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := attach(fd, to); err != nil {
		return fmt.Errorf("mount %s: %w", name, err)
	}
	return nil
}

// mountVolumes mounts what the user asked for.
func (p *initProcess) mountVolumes() error {
	tree := 0
	if p.Spec.Root.Dir != "" {
		tree++
	}
	for _, m := range p.Spec.Mounts {
		target := path.Clean("/" + m.Target)
		if target == "/" || target == "/proc" || strings.HasPrefix(target, "/proc/") {
			return &failure{125, fmt.Sprintf("nothing can be mounted on %s of a container", m.Target)}
		}
		attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if m.Suid {
			attrs &^= unix.MOUNT_ATTR_NOSUID
		}
		if m.Dev {
			attrs &^= unix.MOUNT_ATTR_NODEV
		}
		if m.ReadOnly {
			attrs |= unix.MOUNT_ATTR_RDONLY
		}
		if m.NoExec {
			attrs |= unix.MOUNT_ATTR_NOEXEC
		}
		var fd int
		var err error
		switch m.Type {
		case "bind":
			fd = p.trees[tree]
			err = setAttr(fd, unix.MountAttr{Attr_set: attrs, Propagation: unix.MS_PRIVATE}, true)
			tree++
		case "tmpfs":
			fd, err = newMount("tmpfs", int(attrs), tmpfsOptions(m)...)
		default:
			err = fmt.Errorf("type %q is not known", m.Type)
		}
		if err == nil {
			err = p.mountOn(fd, target)
			unix.Close(fd)
		}
		if err != nil {
			return &failure{125, fmt.Sprintf("mount on %s: %v", m.Target, err)}
		}
	}
	return nil
}

// mountOn mounts a file or a directory on one of the same kind.
func (p *initProcess) mountOn(fd int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	open := inroot.Touch
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		open = inroot.MkdirAll
	}
	to, err := open(p.root, target)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return attach(fd, to)
}

func tmpfsOptions(m Mount) []string {
	mode := m.Mode
	if mode == 0 {
		mode = 0o1777
	}
	out := []string{fmt.Sprintf("mode=%o", mode)}
	if m.Size != "" {
		out = append(out, "size="+m.Size)
	}
	return out
}
