package container

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal's name, with or without SIG, or its number.
func ParseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is not a signal", s)
}

// CatchSignals gives every signal that can be passed on. Those that the Go
// runtime uses itself are left out, and those that the kernel sends somebody about
// himself: his children, his limits, his timers.
func CatchSignals() <-chan os.Signal {
	c := make(chan os.Signal, 64)
	CatchAll(c)
	return c
}

// CatchEnds gives the signals that ask for an end. Each signal costs some
// wake-ups of threads: while a container is started there are only these, and
// CatchAll adds the others.
func CatchEnds() chan os.Signal {
	c := make(chan os.Signal, 64)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	return c
}

// CatchAll has all signals of CatchSignals sent to c.
func CatchAll(c chan<- os.Signal) {
	var all []os.Signal
	for n := syscall.Signal(1); n < 32; n++ {
		switch n {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGPROF,
			unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGSYS, unix.SIGSTKFLT,
			unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT,
			unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT:
		default:
			all = append(all, n)
		}
	}
	signal.Notify(c, all...)
}

// exitCode is how a shell numbers the end of a process.
func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
