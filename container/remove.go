package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
)

// Remove deletes a container with all that was written in it. One that runs is
// killed first when force is given, and refused otherwise.
func (c *Container) Remove(force bool) error {
	st, err := c.State()
	if err != nil {
		return err
	}
	if st.active() {
		if !force {
			return fmt.Errorf("container %s is %s: stop it first, or remove it with -f", st.Name, st.Status)
		}
		if err := c.end(st); err != nil {
			return err
		}
	}
	l, err := c.lock()
	if errors.Is(err, ErrNotFound) && force {
		return nil // --rm was faster
	}
	if err != nil {
		return err
	}
	defer l.Close()
	if st, err = c.State(); errors.Is(err, ErrNotFound) && force {
		return nil
	} else if err != nil {
		return err
	}
	if st.active() {
		return fmt.Errorf("container %s was started again just now", st.Name)
	}
	if err := c.clear(st); err != nil {
		return err
	}
	gone := c.store.dir("." + c.ID)
	if err := os.Rename(c.Dir(), gone); err != nil {
		return err
	}
	fail.Point("remove.begun")
	return removeData(gone, st.Outer)
}

// removeEnded deletes a container whose processes this one has seen end, without
// writing down first how they ended; not done when somebody waits to read that.
func (c *Container) removeEnded(ids idMaps) (done bool, err error) {
	l, err := c.lock()
	if err != nil {
		return errors.Is(err, ErrNotFound), nil // somebody has forced its removal
	}
	defer l.Close()
	if unix.Faccessat(unix.AT_FDCWD, c.waitingFile(), unix.F_OK, 0) == nil {
		return false, nil
	}
	gone := c.store.dir("." + c.ID)
	if err := os.Rename(c.Dir(), gone); err != nil {
		return false, err
	}
	return true, removeData(gone, ids)
}

// end kills a running container and waits until its monitor has noted it.
func (c *Container) end(st *State) error {
	if err := c.noRestart(); err != nil {
		return err
	}
	if st.Status == Paused {
		_ = st.Cgroup.Freeze(false)
	}
	if err := st.Init.signal(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("container %s can't be killed: %w", st.Name, err)
	}
	st.Cgroup.Kill()
	st.Init.awaitEnd(lastWrites)
	if st.Monitor.PID != os.Getpid() && !st.Monitor.awaitEnd(lastWrites) {
		return fmt.Errorf("container %s: its monitor (process %d) doesn't end", st.Name, st.Monitor.PID)
	}
	return nil
}

// clear ends what a monitor that was killed has left: processes first, cgroups
// then.
func (c *Container) clear(st *State) error {
	if st.Boot != "" && st.Boot == bootID() {
		st.Cgroup.Kill()
		for _, p := range []process{st.Init, st.NetHelper} {
			_ = p.signal(unix.SIGKILL)
			p.awaitEnd(lastWrites)
		}
		// The server ends by itself after its last user, having written all.
		if !st.Stage.awaitEnd(lastWrites) {
			_ = st.Stage.signal(unix.SIGKILL)
			st.Stage.awaitEnd(lastWrites)
		}
	}
	return st.Cgroup.Remove()
}

// removeData deletes a directory of the store, never across a mount. Files of
// subordinate ids need the rights that the container's root had.
func removeData(dir string, ids idMaps) error {
	err := removeTree(unix.AT_FDCWD, dir)
	if err == nil || os.Geteuid() == 0 || ids.none() {
		return err
	}
	return asRoot(ids, "remove", dir)
}

// removeTree deletes what name is in the directory at. A mount is refused: what
// is behind it isn't ours.
func removeTree(at int, name string) error {
	err := unix.Unlinkat(at, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC}
	if at != unix.AT_FDCWD {
		how.Resolve = unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH
	}
	fd, e := unix.Openat2(at, name, how)
	if errors.Is(e, unix.EACCES) && unix.Fchmodat(at, name, 0o700, 0) == nil { // ours, but closed
		fd, e = unix.Openat2(at, name, how)
	}
	if e != nil {
		if errors.Is(e, unix.ENOTDIR) {
			e = err
		}
		return fmt.Errorf("delete %s: %w", name, e)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	for {
		names, _ := f.Readdirnames(512) // an error shows as a directory that isn't empty
		if len(names) == 0 {
			break
		}
		for _, n := range names {
			if err := removeTree(fd, n); err != nil {
				return err
			}
		}
		if _, err := f.Seek(0, 0); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// rootJobs are what asRoot can be asked to do.
var rootJobs = map[string]func(args []string) error{
	"remove": func(args []string) error { return removeTree(unix.AT_FDCWD, args[0]) },
}

// RegisterRootJob adds a job for AsRoot; call it before Boot.
func RegisterRootJob(name string, run func(args []string) error) { rootJobs[name] = run }

// AsRoot runs a registered job in a process that is root over the ids that the
// container had at its last start: the owner of every file in its upper. What
// the job prints goes to our standard output.
func (c *Container) AsRoot(job string, args ...string) error {
	st, err := c.stored()
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return rootJobs[job](args)
	}
	ids := st.Outer
	if ids.none() {
		ids = userMaps(c.spec.IDs.Single)
	}
	return asRoot(ids, job, args...)
}

// AsUserRoot runs a registered job in a process that is root over all ids that
// the caller has, and can mount.
func AsUserRoot(job string, args ...string) error {
	ids := userMaps(false)
	if os.Geteuid() == 0 {
		return rootJobs[job](args)
	}
	return asRoot(ids, job, args...)
}

// asRoot starts this program in a user namespace with the ids.
func asRoot(ids idMaps, job string, args ...string) error {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: unix.SIGKILL}
	if ids.single() {
		attr.UidMappings, attr.GidMappings = sysMap(ids.UID), sysMap(ids.GID)
	} else {
		attr.AmbientCaps = stageCaps
	}
	ready, wait, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wait.Close()
	cmd := exec.Command(selfExe)
	cmd.Args = append([]string{"plyfs-root-job", job, strconv.Itoa(fdPeer)}, args...)
	cmd.Env = append(os.Environ(), roleEnv+"=asroot")
	cmd.ExtraFiles = []*os.File{ready}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = os.Stdout, &said
	cmd.SysProcAttr = attr
	err = cmd.Start()
	ready.Close()
	if err != nil {
		return namespaceError(err)
	}
	if !ids.single() {
		err = ids.write(cmd.Process.Pid)
	}
	wait.Close() // its end of file is the start
	if e := cmd.Wait(); err == nil {
		err = e
	}
	if text, ok := strings.CutPrefix(said.String(), "plyfs: asroot: "); ok && err != nil {
		return errors.New(strings.TrimSpace(text))
	}
	_, _ = os.Stderr.WriteString(said.String())
	if err != nil {
		return fmt.Errorf("%s as root of the container: %w", job, err)
	}
	return nil
}

// runAsRoot is the other side of asRoot.
func runAsRoot(Opener) error {
	unix.CloseOnExec(fdPeer)
	_, _ = os.NewFile(fdPeer, "ready").Read(make([]byte, 1))
	job, ok := rootJobs[os.Args[1]]
	if !ok {
		return fmt.Errorf("no job %s", os.Args[1])
	}
	return job(os.Args[3:])
}
