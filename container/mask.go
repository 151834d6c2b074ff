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

// masked is what a payload doesn't see: files are empty, directories are empty
// and read-only. The list is moby's, with what tells about neighbours.
var masked = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

// readOnly is what a payload sees and may not write.
var readOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// mask hides and protects parts of /proc and /sys. The cover of a file is
// /dev/null, taken from the host and checked, never the one that the image may
// have replaced (CVE-2025-31133).
func (p *initProcess) mask() error {
	if p.Spec.Process.Unmasked {
		return nil
	}
	null, err := p.device("null", 1, 3)
	if err != nil {
		return err
	}
	unix.Close(null)
	for _, name := range masked {
		fd, err := inroot.OpenPlain(p.root, name, unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		err = p.hide(fd)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	for _, name := range readOnly {
		if err := p.protect(name); err != nil {
			return fmt.Errorf("protect %s: %w", name, err)
		}
	}
	return nil
}

// hide covers what fd is open on.
func (p *initProcess) hide(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var cover int
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if cover, err = p.piece("empty"); err == nil {
			err = setFlags(cover, unix.MOUNT_ATTR_RDONLY, false)
		}
	} else {
		cover, err = p.device("null", 1, 3)
	}
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	return attach(cover, fd)
}

// protect mounts a part of the tree on itself, read-only.
func (p *initProcess) protect(name string) error {
	fd, err := inroot.OpenPlain(p.root, name, unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	same, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(same)
	if err := setFlags(same, unix.MOUNT_ATTR_RDONLY, true); err != nil {
		return err
	}
	return attach(same, fd)
}

// namespaced are the sysctls that belong to a namespace of the container: all
// others would change the host.
var namespaced = []string{
	"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax",
	"kernel/shmmni", "kernel/shm_rmid_forced", "kernel/domainname", "fs/mqueue/", "net/",
}

// checkSysctl says why a sysctl can't be set for one container.
func checkSysctl(name string, net string) error {
	p := sysctlPath(name)
	switch {
	case path.Clean(p) != p || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "."):
		return fmt.Errorf("sysctl %s: not a name", name)
	case strings.HasPrefix(p, "net/") && net == NetHost:
		return fmt.Errorf("sysctl %s belongs to the network, which is the host's: leave --net host out", name)
	case !slices.ContainsFunc(namespaced, func(n string) bool {
		return p == n || strings.HasSuffix(n, "/") && strings.HasPrefix(p, n)
	}):
		return fmt.Errorf("sysctl %s would change the host: it belongs to no namespace", name)
	}
	return nil
}

// sysctlPath is the file of a name in either spelling.
func sysctlPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return strings.ReplaceAll(name, ".", "/")
}

// sysctls writes them through the proc that we have mounted ourselves, with
// nothing in between that could lead to another file (CVE-2025-52881).
func (p *initProcess) sysctls() error {
	for _, name := range slices.Sorted(maps.Keys(p.Spec.Sysctl)) {
		if err := p.sysctl(name, p.Spec.Sysctl[name]); err != nil {
			return &failure{125, fmt.Sprintf("sysctl %s: %v", name, err)}
		}
	}
	return nil
}

func (p *initProcess) sysctl(name, value string) error {
	if err := checkSysctl(name, p.Spec.Net.Mode); err != nil {
		return err
	}
	// The read-only cover of /proc/sys lies on p.proc, too, in a mount of
	// its own: a descriptor below the cover is needed.
	fd, err := unix.Openat2(p.sys, sysctlPath(name), &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}
