package container

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
)

// Signal sends a signal to the payload.
func (r *Run) Signal(sig unix.Signal) error { return r.init.signal(sig) }

// lastWrites is how long the server of a root may take to end after the last
// process that used it.
const lastWrites = 30 * time.Second

// Wait waits for the end of the payload and of the server of its root, writes
// down what became of it, and gives the exit code.
func (r *Run) Wait() (int, error) {
	code, trouble := r.reap()
	fail.Point("end.reaped")
	oom := r.group.OOMKilled()
	r.net.end()
	r.group.Kill() // who was about to join the container
	if err := r.group.Remove(); err != nil && trouble == nil {
		trouble = err
	}
	if r.c.spec.Remove {
		if done, err := r.c.removeEnded(r.outer); done {
			return code, errors.Join(trouble, err)
		}
	}
	st, err := r.finish(code, trouble, oom)
	fail.Point("end.stored")
	if err == nil {
		err = trouble
	}
	if st != nil && r.c.spec.Remove {
		if waiting, e := r.c.waiting(unix.LOCK_EX, 0); e == nil {
			waiting.Close()
		}
		return code, errors.Join(err, r.c.Remove(false))
	}
	return code, err
}

// finish stores the end.
func (r *Run) finish(code int, trouble error, oom bool) (*State, error) {
	var out *State
	err := r.c.update(func(st *State) error {
		st.Status, st.ExitCode, st.Finished, st.OOMKilled = Exited, code, time.Now().Round(0), oom
		st.Init, st.Monitor, st.Stage, st.NetHelper, st.Cgroup = process{}, process{}, process{}, process{}, nil
		if trouble != nil {
			st.Error = trouble.Error()
		}
		// At once: nobody sees an end that is none.
		if r.again = st.again(code, trouble, r.c.spec.Restart); r.again {
			st.Restarts++
			st.Status, st.Monitor, st.Boot = Restarting, identify(os.Getpid()), bootID()
		}
		out = st
		return nil
	})
	if errors.Is(err, ErrNotFound) { // somebody has forced its removal
		return nil, nil
	}
	return out, err
}

// reap waits for init and for the stage. A payload whose root has no server any
// more is ended: it could only fail. One thread waits for both: others would have
// to be made first.
func (r *Run) reap() (code int, trouble error) {
	defer r.counters.Close()
	if r.init.PID == 0 {
		if r.stage.PID != 0 {
			wait(r.stage.PID)
		}
		return 125, nil
	}
	if !r.served {
		wait(r.stage.PID) // it has nothing more to do
		return exitCode(wait(r.init.PID)), nil
	}
	if !firstOf(r.init.PID, r.stage.PID) {
		ws := wait(r.stage.PID)
		if exitCode(ws) == 0 { // its mount is gone, and so is init in a moment
			return exitCode(wait(r.init.PID)), nil
		}
		_ = r.init.signal(unix.SIGKILL)
		return exitCode(wait(r.init.PID)), r.serverError(ws)
	}
	code = exitCode(wait(r.init.PID))
	if r.c.spec.Remove {
		// All that it could still write is deleted next.
		_ = r.stage.signal(unix.SIGKILL)
		wait(r.stage.PID)
		return code, nil
	}
	if !r.stage.awaitEnd(lastWrites) {
		_ = r.stage.signal(unix.SIGKILL)
		wait(r.stage.PID)
		return code, fmt.Errorf("the server of the root goes on %v after its last user: it is ended; what was written last may be lost", lastWrites)
	}
	if ws := wait(r.stage.PID); exitCode(ws) != 0 {
		trouble = r.serverError(ws)
	}
	return code, trouble
}

// firstOf waits until one of two children has ended, and says whether the first
// one has.
func firstOf(a, b int) bool {
	fds := make([]unix.PollFd, 2)
	for i, pid := range []int{a, b} {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return i == 0 // there is none: an end
		}
		defer unix.Close(fd)
		fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return fds[0].Revents != 0
		}
	}
}

func (r *Run) serverError(ws unix.WaitStatus) error {
	how := fmt.Sprintf("with code %d", ws.ExitStatus())
	if ws.Signaled() {
		how = fmt.Sprintf("by signal %d (%v)", ws.Signal(), ws.Signal())
	}
	return fmt.Errorf("the server of the root ended %s, and the container with it%s", how, r.seeLog())
}

// wait reaps one child.
func wait(pid int) unix.WaitStatus {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return ws
		}
	}
}
