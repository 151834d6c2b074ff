package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// asUserRoot is the role of a program that WithUserRoot has started again: it goes
// on as itself.
const asUserRoot = "as-user-root"

// SingleID says that the containers of the caller can have one id only: no
// others are his, or nothing maps them.
func SingleID() bool { return os.Geteuid() != 0 && userMaps(false).single() }

// WithUserRoot makes this program root over all ids that the user has: it runs
// it once more, in a user namespace with these ids and the same command line
// and streams, and gives its exit code. again is false in that one, and where
// the caller is root already: then the work is to be done here.
func WithUserRoot() (code int, again bool, err error) {
	if os.Geteuid() == 0 {
		return 0, false, nil
	}
	ids := userMaps(false)
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: unix.SIGKILL}
	if ids.single() {
		attr.UidMappings, attr.GidMappings = sysMap(ids.UID), sysMap(ids.GID)
	} else {
		attr.AmbientCaps = stageCaps
	}
	ready, wait, err := os.Pipe()
	if err != nil {
		return 0, true, err
	}
	defer wait.Close()
	runtime.LockOSThread() // the child dies with this thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(selfExe)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), roleEnv+"="+asUserRoot)
	cmd.ExtraFiles = []*os.File{ready}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	signal.Ignore(unix.SIGINT, unix.SIGQUIT) // a terminal sends them to the child, too
	err = cmd.Start()
	ready.Close()
	if err != nil {
		return 0, true, namespaceError(err)
	}
	if !ids.single() {
		if err := ids.write(cmd.Process.Pid); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return 0, true, err
		}
	}
	if _, err := wait.Write([]byte{1}); err != nil {
		return 0, true, err
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &ended) {
		return exitCode(unix.WaitStatus(ended.Sys().(syscall.WaitStatus))), true, nil
	} else if err != nil {
		return 0, true, fmt.Errorf("as root of a user namespace: %w", err)
	}
	return 0, true, nil
}

// awaitUserRoot waits until the ids are mapped.
func awaitUserRoot() {
	unix.CloseOnExec(fdPeer)
	f := os.NewFile(fdPeer, "ready")
	if n, _ := f.Read(make([]byte, 1)); n != 1 {
		os.Exit(1) // the one who mapped has told why
	}
	f.Close()
}
