package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A thread of the Go runtime looks every 20 us whether anything is stuck, as long
// as something runs: with the kernel's usual timer slack that is a tenth of the
// processor time of a program that lives for some milliseconds, and each look
// interrupts what it looks after. The thread is made before anything of ours is
// initialised, and has the slack of the first one. So entry, which comes before the
// runtime, gives that a slack of 2 ms when the verb is one that starts a container;
// it is linked in by the Makefile, and missed by nobody where it isn't.

// slack is what the first thread had, 0 when entry has changed nothing.
var slack uintptr

func init() {
	// Other threads may have been made since. What we start comes from this one,
	// and is to have what our caller has given us.
	if slack > 0 {
		runtime.LockOSThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0)
	}
}
