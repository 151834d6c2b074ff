package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/cgroup"
)

// Status is where a container is in its life.
type Status string

// The states. All but Dead are stored. Restarting has ended, and its monitor
// waits before it starts it again. Dead is what a running one is found to be
// when its monitor is gone: it can be removed, and started again.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Exited     Status = "exited"
	Dead       Status = "dead"
)

// process names one process for ever: ids are used again, an id with its start
// time isn't.
type process struct {
	PID   int    `json:",omitempty"`
	Start uint64 `json:",omitempty"` // clock ticks since boot
}

// State is what is known of a container. It changes; Spec doesn't.
type State struct {
	Name      string
	Status    Status
	Boot      string  `json:",omitempty"` // which boot the processes below belong to
	Init      process `json:"Process"`
	Monitor   process
	Stage     process
	ExitCode  int
	Error     string `json:",omitempty"` // why it could not start, or ended otherwise than by itself
	OOMKilled bool   `json:",omitempty"`
	Restarts  int    `json:",omitempty"`
	Created   time.Time
	Started   time.Time `json:",omitzero"`
	Finished  time.Time `json:",omitzero"`
	Slot      int       `json:",omitempty"` // root: which range of ids
	Outer     idMaps    // the ids of the last start
	Inner     idMaps
	Cgroup    *cgroup.Group `json:",omitempty"`
	NetBy     string        `json:",omitempty"` // the program that connects the network
	NetHelper process       `json:",omitzero"`
	Warnings  []string      `json:",omitempty"`
	Stopping  bool          `json:",omitempty"` // somebody wants it to end: no restart
	Logged    bool          `json:",omitempty"` // output goes to the log
}

// live corrects a stored state by what is true now.
func (s *State) live() {
	if s.Boot == bootID() && s.Monitor.alive() {
		return
	}
	switch s.Status {
	case Running, Paused:
		s.Status = Dead // its init ends with the monitor
	case Restarting:
		s.Status = Exited
	}
}

// active says that a monitor has it in its hands.
func (s *State) active() bool {
	return s.Status == Running || s.Status == Paused || s.Status == Restarting
}

// identify names a running process.
func identify(pid int) process {
	return process{pid, startTime(pid)}
}

// alive says whether the process is still that one; a zombie isn't.
func (p process) alive() bool {
	return p.PID > 0 && startTime(p.PID) == p.Start && p.Start != 0
}

// startTime is field 22 of /proc/PID/stat, 0 for a process that is gone or has
// ended. The name in field 2 can hold anything.
func startTime(pid int) uint64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// signal sends a signal to the process and to no other that has got its id.
func (p process) signal(sig unix.Signal) error {
	if p.PID <= 0 {
		return unix.ESRCH
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !p.alive() { // asked after the descriptor was taken
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// awaitEnd waits until the process has ended, at most for a time (negative: for
// ever), and says whether it has.
func (p process) awaitEnd(wait time.Duration) bool {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	if !p.alive() {
		return true
	}
	deadline := time.Now().Add(wait)
	for {
		ms := -1
		if wait >= 0 {
			ms = max(int(time.Until(deadline).Milliseconds()), 0)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err != nil || n > 0
	}
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// writeFile replaces a file so that readers see the old or the new text, and a
// crash leaves one of them.
func writeFile(path string, v any) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := writeNew(tmp, v); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// writeNew writes a file that nobody reads yet.
func writeNew(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func readFile(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// lock takes a lock file until the result is closed.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
