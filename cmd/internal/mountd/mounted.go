package mountd

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
	"github.com/plyfs/plyfs/snapshot/servers"
	"golang.org/x/sys/unix"
)

// mounted is one mount that this process serves.
type mounted struct {
	dir    string
	dev    uint64
	tree   *union.FS
	slot   servers.SlotRef
	server *fusefs.Server
	prefix string       // of what the keeper has of it; "" when that is nothing
	meter  *meter.Meter // nil: there was no memory

	// use is held by whoever asks the tree something beside FUSE requests, so
	// that it isn't closed meanwhile.
	use    sync.RWMutex
	closed bool // protected by use

	done chan struct{} // closed when the layers are closed
}

// afterlife is how long the server of an earlier mount with the same work
// directory may take to end.
const afterlife = 5 * time.Second

// mount mounts a union on dir, and answers when it can be used.
func (s *server) mount(dir, options string) (*mounted, error) {
	if old := s.find(dir); old != nil {
		// Detached by somebody, and in use still: both are served.
		if old.onTop() {
			return nil, fmt.Errorf("%s is mounted already", dir)
		}
	}
	o, _, err := layer.Parse([]string{options}, true)
	if err != nil {
		return nil, err
	}
	stack, err := layer.Open(o)
	if err != nil {
		return nil, err
	}
	if err := stack.CheckMountPoint(dir); err != nil {
		_ = stack.Close()
		return nil, err
	}
	stack.AwaitIdle(afterlife)
	m := &mounted{dir: dir, done: make(chan struct{})}
	if m.tree, err = s.bases.New(stack, o); err != nil {
		return nil, err
	}
	s.count(m)
	config := fusefs.Config{Options: o, UserNS: s.userNS, Log: s.log}
	held, err := s.keepTree(m, &config)
	fd := -1
	if err == nil {
		fd, err = fusefs.Mount(dir, o, s.userNS)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeTree(m))
	}
	m.dev = mountDev(dir)
	s.meet(m, -1)
	config.Meter = m.meter
	m.server = fusefs.NewServer(fd, m.tree, config)
	ended := make(chan error, 1)
	go func() { ended <- m.server.Serve() }()
	if err := m.server.WaitReady(); err != nil {
		_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		return nil, errors.Join(err, <-ended, s.closeTree(m))
	}
	if held != nil {
		s.keep(m, o, held, fd, &config)
	}
	s.know(m, ended)
	return m, nil
}

// know makes a mount one of those that are served.
func (s *server) know(m *mounted, ended <-chan error) {
	s.mu.Lock()
	s.mounts[m.dir] = m
	s.mu.Unlock()
	go s.attend(m, ended)
}

// device is the number of the mount as /proc/self/mountinfo has it.
func (m *mounted) device() string { return fmt.Sprintf("%d:%d", unix.Major(m.dev), unix.Minor(m.dev)) }

// count has a mount counted where the daemon reads it.
func (s *server) count(m *mounted) {
	slot, ref := s.table.Take()
	s.countIn(m, slot, ref)
}

// countIn has it counted in a slot; nil is none.
func (s *server) countIn(m *mounted, slot *servers.Slot, ref servers.SlotRef) {
	var c union.Counters
	if slot != nil {
		m.slot, c = ref, union.Counters{Bytes: &slot.Bytes, Inodes: &slot.Inodes, Known: &slot.Known}
	}
	m.tree.CountUsage(c)
}

func (s *server) closeTree(m *mounted) error {
	m.use.Lock()
	m.closed = true
	err := errors.Join(m.tree.Close(), m.meter.Close())
	m.use.Unlock()
	if m.prefix != "" {
		s.link.Drop(m.prefix)
	}
	s.table.Give(m.slot)
	return err
}

// attend waits for the end of a mount.
func (s *server) attend(m *mounted, ended <-chan error) {
	err := <-ended
	if e := s.closeTree(m); err == nil {
		err = e
	}
	if err != nil {
		s.log.Printf("mount on %s: %v", m.dir, err)
	}
	close(m.done)
	s.mu.Lock()
	if s.mounts[m.dir] == m {
		delete(s.mounts, m.dir)
	}
	s.mu.Unlock()
	s.checkIdle()
}

// wait says whether the mount has ended, after patience at most.
func (m *mounted) wait(patience time.Duration) bool {
	select {
	case <-m.done:
		return true
	case <-time.After(patience):
		return false
	}
}

// onTop says whether the mount is what one finds in its place. It asks
// nothing of the mount itself, whose server we are.
func (m *mounted) onTop() bool { return m.dev == 0 || mountDev(m.dir) == m.dev }

// mountDev is the device number of the file system on dir, from what the
// kernel has in memory: AT_STATX_DONT_SYNC never asks a server.
func mountDev(dir string) uint64 {
	var sx unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, dir, unix.AT_STATX_DONT_SYNC|unix.AT_SYMLINK_NOFOLLOW, 0, &sx) != nil {
		return 0
	}
	return unix.Mkdev(sx.Dev_major, sx.Dev_minor)
}

// using asks the tree something, unless it is closed.
func (m *mounted) using(fn func()) bool {
	m.use.RLock()
	defer m.use.RUnlock()
	if !m.closed {
		fn()
	}
	return !m.closed
}

func (m *mounted) usage() (u union.Usage, ok bool) {
	m.using(func() { u, ok = m.tree.Usage() })
	return u, ok
}

// files are the regular files of the upper layer that the kernel may hold
// unwritten data of.
func (m *mounted) files() (names [][]byte, ok bool) {
	ok = m.using(func() {
		for name := range m.tree.UpperFiles() {
			names = append(names, []byte(name))
		}
	})
	return names, ok
}
