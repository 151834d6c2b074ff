package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
)

// runStage is the stage: it starts init between the outer user namespace and
// init's own, and serves the root.
func runStage(open Opener) error {
	monitor := inherited(fdPeer)
	err := stage(monitor, open)
	if err != nil {
		// The monitor may be gone, and then nobody wants to know.
		_ = monitor.send(message{Failure: asFailure(err)})
	}
	return nil
}

func stage(monitor peer, open Opener) error {
	o, err := awaitOrder(monitor)
	if err != nil {
		return err
	}
	ours, theirs, err := newPeers()
	if err != nil {
		return err
	}
	var quick *quickInit
	if o.Quick { // our ids aren't mapped yet
		if quick, err = newQuick(o, open, theirs); err != nil {
			return declined(monitor)
		}
	}
	told, _, err := monitor.receive()
	if err != nil {
		return err
	}
	fail.Point("stage.told")
	var pid int
	if quick != nil {
		pid, err = quick.start(told.Filter)
	} else {
		pid, err = startInit(o, theirs)
	}
	theirs.close()
	unix.Close(fdInit)
	unix.Close(fdOrder)
	if err != nil {
		return err
	}
	defer ours.close()
	fail.Point("stage.init")
	if err := monitor.send(message{Pid: pid}); err != nil {
		return err
	}
	if err := ownOutput(); err != nil {
		return err
	}
	if m, _, err := monitor.receive(); err != nil || m.What != entered {
		return nil //nolint:nilerr // the monitor has given up, and said why
	}
	if o.HostRoot {
		if err := sendMounts(o, ours, pid); err != nil {
			return err
		}
	}
	if o.Spec.Root.FS == "" {
		return nil
	}
	root, err := open(o.Spec.Root.FS, o.Dir)
	if err == nil {
		err = root.Open()
	}
	if err == nil {
		err = confine() // now, while init starts
	}
	if err != nil {
		return err
	}
	m, fds, err := ours.receive()
	switch {
	case errors.Is(err, io.EOF):
		return nil // init has told the monitor why
	case err != nil:
		return err
	case m.What != "root" || len(fds) != 1:
		return fmt.Errorf("init sent %q instead of its root", m.What)
	}
	ours.close()
	monitor.close()
	fail.Point("stage.serve")
	if err := root.Serve(fds[0], !o.Inner.none(), os.NewFile(fdCount, "counters")); err != nil {
		fmt.Fprintf(os.Stderr, "plyfs: the server of the root: %v\n", err)
		os.Exit(1)
	}
	return nil
}

// declined says that init has to be a program after all.
func declined(monitor peer) error {
	for range 2 { // mapped, entered
		if _, _, err := monitor.receive(); err != nil {
			return nil //nolint:nilerr // it has given up
		}
	}
	return monitor.send(message{What: again})
}

// namespaces are what init gets anew, beside those that it makes itself when
// it is in its cgroup.
func (o *order) namespaces() uintptr {
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if o.Spec.Net.Mode != NetHost {
		flags |= unix.CLONE_NEWNET
	}
	if !o.Inner.none() {
		flags |= unix.CLONE_NEWUSER
	}
	return flags
}

// startInit starts init as a child of the monitor, with our standard
// descriptors, which are the payload's.
func startInit(o *order, theirs peer) (int, error) {
	attr := &syscall.SysProcAttr{Cloneflags: o.namespaces() | unix.CLONE_PARENT}
	if !o.Inner.none() {
		attr.UidMappings, attr.GidMappings = sysMap(o.Inner.UID), sysMap(o.Inner.GID)
		attr.GidMappingsEnableSetgroups = !o.Inner.single()
		attr.Credential = &syscall.Credential{NoSetGroups: o.Inner.single()}
	}
	defer unrelax(relax(initSlack))
	pid, err := syscall.ForkExec(selfExe, []string{"plyfs-init"}, &syscall.ProcAttr{
		// It lives for some milliseconds: no thread and no collection is worth
		// it, and no reading of the time zone.
		Env:   append([]string{roleEnv + "=init", "GOMAXPROCS=1", "GOGC=off", "TZ=UTC"}, failEnv()...),
		Files: []uintptr{0, 1, 2, fdInit, fdOrder, theirs.f.Fd()},
		Sys:   attr,
	})
	if err != nil {
		return 0, namespaceError(err)
	}
	return pid, nil
}

// failEnv passes failpoints on.
func failEnv() []string {
	if v := os.Getenv("PLYFS_FAIL"); v != "" {
		return []string{"PLYFS_FAIL=" + v}
	}
	return nil
}

// namespaceError explains why no namespaces were made.
func namespaceError(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		hint = ": no more of them are allowed; see /proc/sys/user/max_user_namespaces and its neighbours"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = ": plyfs doctor says what this machine forbids"
	}
	return fmt.Errorf("cannot make the container's namespaces: %w%s", err, hint)
}

// ownOutput gives the payload's standard descriptors back, so that whoever
// reads them sees their end, and takes the log.
func ownOutput() error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", os.DevNull, err)
	}
	defer unix.Close(null)
	for to, from := range []int{null, null, fdLog} {
		if err := unix.Dup3(from, to, 0); err != nil {
			return err
		}
	}
	return unix.Close(fdLog)
}

// sendMounts opens what init mounts of the host's directories, with the rights
// of root, and shifts the ids so that the container's root is root in them.
func sendMounts(o *order, to peer, pid int) error {
	userNS := -1
	if o.Inner.shifted() {
		fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("init's user namespace: %w", err)
		}
		defer unix.Close(fd)
		userNS = fd
	}
	m := message{What: "mounts"}
	var fds []int
	for i, src := range o.hostTrees() {
		fd, err := cloneTree(src.path, src.recursive)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		m.Index = append(m.Index, i)
		if userNS < 0 || src.device {
			continue
		}
		flags := uint(unix.AT_EMPTY_PATH)
		if src.recursive {
			flags |= unix.AT_RECURSIVE
		}
		err = unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userNS)})
		if err != nil && src.root {
			return fmt.Errorf("%s: its filesystem can't show shifted owners (%w): give --layer %s, or --userns host", src.path, err, src.path)
		}
		if err != nil {
			m.Warning += fmt.Sprintf("%s: its filesystem can't show shifted owners: its files belong to nobody in the container; ", src.path)
		}
	}
	err := to.send(m, fds...)
	for _, fd := range fds {
		unix.Close(fd)
	}
	return err
}

// hostTree is a directory or file of the host that is mounted.
type hostTree struct {
	path      string
	recursive bool
	root      bool
	device    bool
}

// hostTrees are all of a container, in a fixed order: the root when it is a
// directory, the bind mounts, the devices.
func (o *order) hostTrees() (all []hostTree) {
	if o.Spec.Root.Dir != "" {
		all = append(all, hostTree{path: o.Spec.Root.Dir, recursive: true, root: true})
	}
	for _, m := range o.Spec.Mounts {
		if m.Type == "bind" {
			all = append(all, hostTree{path: m.Source, recursive: !m.NoSub})
		}
	}
	for _, d := range o.Spec.Devices {
		all = append(all, hostTree{path: d.Source, device: true})
	}
	return all
}

// cloneTree is a detached copy of the mounts at path.
func cloneTree(path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if errors.Is(err, unix.EINVAL) && !recursive {
		// Mounts that a more privileged namespace made hide what is below:
		// they can only be taken along.
		fd, err = unix.OpenTree(unix.AT_FDCWD, path, flags|unix.AT_RECURSIVE)
	}
	if err != nil {
		return -1, &failure{125, fmt.Sprintf("cannot mount %s: %v", path, err)}
	}
	return fd, nil
}

// asFailure makes an error one that crosses a process.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{125, err.Error()}
}
