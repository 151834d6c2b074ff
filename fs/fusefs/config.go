package fusefs

import (
	"io"
	"log"

	"github.com/plyfs/plyfs/fs/fusefs/meter"
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
	// Readers is how many goroutines may read requests at once; 0 chooses.
	// As a rule one does (see crew).
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
	// Meter, when not nil, is where the server counts, and where others see it.
	// It stays the caller's, who may close it when Serve has returned and the
	// tree is closed, which counts in it to the end.
	Meter *meter.Meter
	// OtherPIDs says that the kernel numbers processes as another namespace
	// does: that of a container.
	OtherPIDs bool
	// Flight, when not nil, keeps what is in flight for the next server.
	Flight *Flight
}

// maxReaders bounds the readers: more than sixteen only fight for the device's
// lock.
const maxReaders = 16

// readers is the number of goroutines that may read at once.
func (c *Config) readers() int {
	if c.Readers > 0 {
		return min(c.Readers, maxReaders)
	}
	return maxReaders
}
