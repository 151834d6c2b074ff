package keeper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ended is called when the server has ended.
func (k *keeper) ended() (code int, over bool) {
	// What it said last may still be there.
	for k.sock >= 0 {
		p := []unix.PollFd{{Fd: int32(k.sock), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 0); n <= 0 || err != nil {
			break
		}
		if k.hear() {
			return 0, true
		}
	}
	status := k.reap()
	if k.many {
		k.dropUnready()
		if len(k.mounts) == 0 {
			return 0, true // nothing to be kept: whoever wants a server has another started
		}
	} else if !k.ready {
		if status.Exited() {
			return status.ExitStatus(), true
		}
		return 128 + int(status.Signal()), true
	}
	weight := uint64(WeightCrash)
	over = false
	switch {
	case k.replaced:
		k.replaced, weight = false, 0
	case isKill(status): // from outside
		weight = WeightKilled
		over = k.count() == k.begun && k.unbegun()
	default:
		over = k.crashed()
	}
	for !over {
		status, why := k.restart(weight)
		if why == nil {
			return 0, false
		}
		if isKill(status) {
			over = k.gone() || k.unbegun()
			continue
		}
		k.say("cannot start another server: " + why.Error())
		over = k.gone() || k.crashed()
	}
	k.abort()
	return 1, true
}

func isKill(s syscall.WaitStatus) bool { return s.Signaled() && s.Signal() == syscall.SIGKILL }

// unbegun notes that a server was killed before it had begun a request, as by lack of
// memory, and says whether that was one too many in a row.
func (k *keeper) unbegun() bool {
	if now := k.count(); now != k.lastBegun {
		k.lastBegun, k.idleKills = now, 0
	}
	k.idleKills++
	return k.idleKills >= crashes
}

// reap takes the server's status.
func (k *keeper) reap() (status syscall.WaitStatus) {
	for {
		_, err := syscall.Wait4(int(k.pid.Load()), &status, 0, nil)
		if err == syscall.ECHILD {
			status = syscall.WaitStatus(syscall.SIGKILL) // a child of the keeper before: nobody knows
		}
		if err != syscall.EINTR {
			break
		}
	}
	k.store.remove(k.id + pidfdName)
	k.store.remove(k.id + sockName)
	unix.Close(k.pidfd)
	if k.sock >= 0 {
		unix.Close(k.sock)
	}
	k.sock, k.pidfd = -1, -1
	return status
}

// crashed notes a death, and says whether it was one too many.
func (k *keeper) crashed() bool {
	now := time.Now()
	k.died = append(k.died, now)
	if len(k.died) < crashes {
		return false
	}
	k.died = k.died[len(k.died)-crashes:]
	return now.Sub(k.died[0]) < period
}
