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

// look looks for a server that hangs. For k.hang it has begun no request, and
// either some wait, or it has some in hand, does nothing for them, and doesn't
// wait for a disk: a big copy takes its time.
func (k *keeper) look() {
	p := []unix.PollFd{{Fd: int32(k.get("fuse", -1)), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	taken := k.count()
	queued := err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
	waits, moved := queued, taken != k.taken
	k.taken = taken
	if !queued && !moved && k.inHand() {
		work, disk := k.work()
		// A server that waits still looks at its readers every few milliseconds.
		waits, moved = !disk, work-k.worked > uint64(k.hang/4/(10*time.Millisecond)/5)
		k.worked = work
	}
	if f := statFields(fmt.Sprintf("/proc/%d/stat", k.pid.Load())); len(f) > 0 && f[0] == "T" {
		waits, moved = true, false // stopped: what it has read may be noted nowhere yet
	}
	switch {
	case !waits || moved:
		k.waiting = time.Time{}
	case k.waiting.IsZero():
		k.waiting = time.Now()
	case time.Since(k.waiting) >= k.hang:
		k.waiting = time.Time{}
		k.say(fmt.Sprintf("the server (%d) has begun nothing for %v while a request waits: another one takes over; what it was doing:", k.pid.Load(), k.hang))
		k.quit()
	}
}

// inHand says whether the server is handling a request.
func (k *keeper) inHand() bool {
	var seats [SeatCount * 8]byte
	n, err := unix.Pread(k.get("flight", -1), seats[:], FlightSeats)
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

// order takes an order of `plyfs upgrade`.
func (k *keeper) order() {
	sock, _, err := unix.Accept4(k.listen, unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(sock)
	who, err := unix.GetsockoptUcred(sock, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || who.Uid != 0 && int(who.Uid) != os.Geteuid() {
		_ = send(sock, sayUnable, "the mount is another user's", -1)
		return
	}
	limit := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	word, _, exe, err := receive(sock)
	switch {
	case err != nil:
	case word != sayUpgrade || exe < 0:
		_ = send(sock, sayUnable, "the keeper doesn't know the order "+word, -1)
	default:
		if err := k.upgrade(exe); err != nil {
			unix.Close(exe)
			_ = send(sock, sayUnable, err.Error()+"; the server that runs goes on", -1)
		} else {
			_ = send(sock, sayAble, "", -1)
		}
	}
}

// upgrade has another program go on. The server that runs is killed when the new
// one has said that it can: that is what taking over is made for.
func (k *keeper) upgrade(exe int) error {
	path := fmt.Sprintf("/proc/self/fd/%d", exe)
	p, err := k.spawn(path, -1)
	if err != nil {
		return fmt.Errorf("cannot start it: %w", err)
	}
	if err := k.hand(p, stillAlive); err != nil {
		_ = unix.PidfdSendSignal(p.pidfd, syscall.SIGKILL, nil, 0)
		_, _ = syscall.Wait4(p.pid, nil, 0, nil)
		unix.Close(p.pidfd)
		unix.Close(p.sock)
		return err
	}
	_ = unix.PidfdSendSignal(k.pidfd, syscall.SIGKILL, nil, 0)
	k.reap()
	var old int
	if _, err := fmt.Sscanf(k.exe, "/proc/self/fd/%d", &old); err == nil {
		unix.Close(old)
	}
	k.exe = path
	k.adopt(p)
	return send(p.sock, sayGo, "0", -1)
}

// abort ends the mount for all its clients: no server can be had. With the last
// copy of its descriptor the kernel gives every request up; where others hold
// one, it is told to.
func (k *keeper) abort() {
	if k.gone() {
		k.say("the mount is gone, and no server could be had to say so")
	} else {
		k.say(fmt.Sprintf("servers died %d times in a minute: the mount is given up; unmount it, and mount again", crashes))
		k.abortByControl()
	}
	for _, h := range k.held {
		if h.name != "log" {
			unix.Close(h.fd)
		}
	}
	k.held = nil
}

// gone says whether the mount is over: the kernel lets go of its connection before
// it gives its device number to another mount.
func (k *keeper) gone() bool {
	p := []unix.PollFd{{Fd: int32(k.get("fuse", -1)), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLERR != 0 // fuse_dev_poll
}

// abortByControl uses the fusectl file system, which is root's. It knows a mount by
// the number of its device, which is soon another mount's: what was opened under the
// number is this mount's if this mount is still there after that.
func (k *keeper) abortByControl() {
	_, minor, _ := strings.Cut(k.dev, ":")
	fd, err := unix.Open("/sys/fs/fuse/connections/"+minor+"/abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if !k.gone() {
		_, _ = unix.Write(fd, []byte("1"))
	}
	unix.Close(fd)
}
