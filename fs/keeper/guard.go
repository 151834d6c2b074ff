package keeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// look looks for a mount whose server hangs, and has that server end.
func (k *keeper) look() {
	f := statFields(fmt.Sprintf("/proc/%d/stat", k.pid.Load()))
	stopped := len(f) > 0 && f[0] == "T"
	for i := range k.mounts {
		if m := &k.mounts[i]; k.hangs(m, stopped) {
			k.say(fmt.Sprintf("the server (%d) has begun nothing for %v while a request waits%s: another one takes over; what it was doing:", k.pid.Load(), k.hang, k.on(m)))
			k.quit()
			return
		}
	}
}

// hangs says that a mount's server hangs: for k.hang it has begun no request of
// it, and either some wait, or it has some in hand, does nothing for them, and doesn't
// wait for a disk: a big copy takes its time.
func (k *keeper) hangs(m *mount, stopped bool) bool {
	p := []unix.PollFd{{Fd: int32(k.get(m.prefix+"fuse", -1)), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	taken := k.countOf(m)
	queued := err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
	waits, moved := queued, taken != m.taken
	m.taken = taken
	switch {
	case moved:
	case !queued && k.inHand(m):
		work, disk := k.work()
		// A server that waits still looks at its readers every few milliseconds.
		waits, moved = !disk, work-m.worked > uint64(k.hang/4/(10*time.Millisecond)/5)
		m.worked = work
	case queued && k.many:
		// One that waits for a disk can't be killed, and the other mounts need it.
		_, disk := k.work()
		waits = !disk
	}
	if stopped {
		waits, moved = true, false // what it has read may be noted nowhere yet
	}
	switch {
	case !waits || moved:
		m.waiting = time.Time{}
	case m.waiting.IsZero():
		m.waiting = time.Now()
	case time.Since(m.waiting) >= k.hang:
		m.waiting = time.Time{}
		return true
	}
	return false
}

// on says which mount a message is about, where there are several.
func (k *keeper) on(m *mount) string {
	if !k.many {
		return ""
	}
	return " on " + m.dir
}

// inHand says whether the server is handling a request of the mount.
func (k *keeper) inHand(m *mount) bool {
	var seats [SeatCount * 8]byte
	n, err := unix.Pread(k.get(m.prefix+"flight", -1), seats[:], FlightSeats)
	if err != nil {
		return false
	}
	for _, b := range seats[:n] {
		if b != 0 {
			return true
		}
	}
	return false
}

// work is how much time of a processor the server has had, in hundredths of a
// second, and whether one of
// its threads waits for a disk.
func (k *keeper) work() (ticks uint64, disk bool) {
	dir := fmt.Sprintf("/proc/%d/", k.pid.Load())
	if f := statFields(dir + "stat"); len(f) > 12 {
		for _, s := range f[11:13] { // utime, stime
			n, _ := strconv.ParseUint(s, 10, 64)
			ticks += n
		}
	}
	tasks, _ := os.ReadDir(dir + "task")
	for _, t := range tasks {
		if f := statFields(dir + "task/" + t.Name() + "/stat"); len(f) > 0 && f[0] == "D" {
			disk = true
		}
	}
	return ticks, disk
}

// statFields are the fields of a stat file in /proc that follow the name.
func statFields(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// quit has the server say what it is doing (the Go runtime does so) and end.
func (k *keeper) quit() {
	_ = unix.PidfdSendSignal(k.pidfd, syscall.SIGQUIT, nil, 0)
	p := []unix.PollFd{{Fd: int32(k.pidfd), Events: unix.POLLIN}}
	if n, _ := unix.Poll(p, int(min(grace, k.hang)/time.Millisecond)); n <= 0 {
		_ = unix.PidfdSendSignal(k.pidfd, syscall.SIGKILL, nil, 0)
	}
	k.begun = k.count() // it had come to nothing: that counts as a crash
}
