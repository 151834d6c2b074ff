package fusefs

import (
	"io"
	"log"
	"runtime"

	"github.com/plyfs/plyfs/fs/layer"
)

// Config is how a Server serves its tree.
type Config struct {
	// Options of the mount: timeouts, writeback, live, noacl, read-only,
	// fsync. nil is the zero Options.
	Options *layer.Options
	// Trace gets one line per request: op, node, arguments, result. nil is
	// off, which costs one comparison per request.
	Trace io.Writer
	// Readers is the number of goroutines that read requests; 0 chooses.
	Readers int
	// UserNS says that the mount is owned by a user namespace.
	UserNS bool
	// Log gets panics and replies that the kernel refused; nil is the
	// standard logger.
	Log *log.Logger
	// Session, when not nil, says that the descriptor was initialised by
	// an earlier server: no INIT will come, and what was agreed on then
	// goes on to hold.
	Session *Session
}

// The bounds of the number of readers. Two even on one CPU: one of them may sit
// in a pread of a slow disk. More than sixteen only fight for the device's lock.
const (
	minReaders = 2
	maxReaders = 16
)

// readers is the number of reader goroutines that c asks for.
func (c *Config) readers() int {
	n := c.Readers
	if n <= 0 {
		n = min(runtime.NumCPU(), maxReaders)
	}
	return max(n, minReaders)
}
