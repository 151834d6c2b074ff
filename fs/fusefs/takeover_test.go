package fusefs

import (
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"
)

// stoppable is a device whose reads end when stop is set: the server above it
// leaves and the mount lives.
type stoppable struct {
	fdDevice
	stop atomic.Bool
}

func (d *stoppable) read(p []byte) (int, syscall.Errno) {
	for !d.stop.Load() {
		fds := []unix.PollFd{{Fd: int32(d.fdDevice), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 20); n > 0 {
			return d.fdDevice.read(p)
		}
	}
	return 0, syscall.ENODEV
}

func (d *stoppable) close() error { return nil }

// TestTakeover: a second server goes on with a mount that the first one
// initialised, from its Session alone.
func TestTakeover(t *testing.T) {
	requireRoot(t)
	m := &mounted{dir: t.TempDir(), tree: newFakeTree(), ended: make(chan error, 1)}
	fd, err := Mount(m.dir, &layer.Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	dev := &stoppable{fdDevice: fdDevice(fd)}
	m.s = newServer(dev, m.tree, Config{})
	go func() { m.ended <- m.s.Serve() }()
	if err := m.s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	m.sh(t, helperScript)
	sess := m.s.Session()
	dev.stop.Store(true)
	if err := <-m.ended; err != nil {
		t.Fatal(err)
	}

	m.s = NewServer(fd, m.tree, Config{Session: sess})
	go func() { m.ended <- m.s.Serve() }()
	if err := m.s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	m.sh(t, helperScript)
	m.sh(t, "mv file moved && ln -s a b && sync moved && setfattr -n user.x -v y moved 2>/dev/null || true")
	if c := m.s.Counts(); c["INIT"] != 0 || c["OPEN"] != 0 || c["RENAME2"]+c["RENAME"] == 0 {
		t.Errorf("messages: %v", c)
	}
	m.unmount(t)
}
