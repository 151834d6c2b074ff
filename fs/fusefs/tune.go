package fusefs

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// TuneProcess sets up a process that is there to serve mounts. GOGC and
// GOMAXPROCS win where they are set.
func TuneProcess() {
	// Modes are given exactly: the umask that counts is the client's.
	syscall.Umask(0)
	// What a server keeps lies outside the Go heap, and what it throws away is
	// small: the collector may run more often than its default.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// Processors of the Go runtime stay idle beside the readers. Where all are
	// with readers that wait in read(2), the runtime's monitor takes them
	// away in turn, and a thread is woken for every request.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	}
}
