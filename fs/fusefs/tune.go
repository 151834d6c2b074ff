package fusefs

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// TuneProcess sets up a process that is there to serve mounts. GOGC and
// GOMAXPROCS win where they are set.
func TuneProcess() {
	TuneLater(0)
}

// TuneLater is TuneProcess for a server that may be needed for some milliseconds
// only: what pays off in the long run comes after that time. It stops the whole
// process for a moment, and wakes threads.
func TuneLater(after time.Duration) {
	// Modes are given exactly: the umask that counts is the client's.
	syscall.Umask(0)
	if after <= 0 {
		tune()
		return
	}
	time.AfterFunc(after, tune)
}

func tune() {
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
