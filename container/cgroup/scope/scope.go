// Package scope asks systemd for a cgroup: a transient scope that is delegated
// to whoever asks. A hierarchy of version 2 has one writer, and where systemd
// runs that is systemd: for root the manager of the system, for users the one
// of their session (systemd --user), which lets them limit what they own.
//
// The package speaks D-Bus itself, over the bus or systemd's own socket: three
// calls and one signal (decision 0014). It touches no file of a cgroup and starts
// no process.
package scope

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long systemd may take: it may be busy starting a session.
const Patience = 10 * time.Second

const (
	systemd = "org.freedesktop.systemd1"
	object  = "/org/freedesktop/systemd1"
	manager = systemd + ".Manager"
)

// Manager is where a systemd can be spoken to.
type Manager struct {
	socket string
	direct bool // its own socket: there is no bus to register with
}

// Find gives the manager that this process belongs to, nil where there is none.
func Find() *Manager {
	if os.Geteuid() == 0 {
		return find("", "/run/systemd/private")
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(os.Getuid())
	}
	return find(filepath.Join(dir, "bus"), filepath.Join(dir, "systemd/private"))
}

// find takes the bus of a session only where its systemd is, too: a bus alone
// would have nobody to ask.
func find(bus, private string) *Manager {
	switch {
	case unix.Access(private, unix.W_OK) != nil:
		return nil
	case bus != "" && unix.Access(bus, unix.W_OK) == nil:
		return &Manager{bus, false}
	}
	return &Manager{private, true}
}

// Start makes the scope name in a slice ("" is the manager's choice) with
// processes in it. It returns when they are there. The scope goes with the last.
func (m *Manager) Start(name, slice string, pids ...int) error {
	c, err := m.dial()
	if err != nil {
		return err
	}
	defer c.close()
	// Whoever doesn't ask for signals isn't told how a job ends.
	if m.direct {
		_, err = c.call(&call{manager, "Subscribe", "", nil})
	} else {
		rule := new(encoder)
		rule.str("type='signal',sender='" + systemd + "',interface='" + manager + "',member='JobRemoved'")
		_, err = c.call(&call{"org.freedesktop.DBus", "AddMatch", "s", rule.b})
	}
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	reply, err := c.call(&call{manager, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit(name, slice, pids)})
	if err != nil {
		return fmt.Errorf("systemd doesn't make %s: %w", name, err)
	}
	job := reply.str()
	for {
		s, err := c.signal()
		if err != nil {
			return fmt.Errorf("systemd makes %s: %w", name, err)
		}
		if s.member != "JobRemoved" {
			continue
		}
		s.body.u32() // the job's number
		path, _, result := s.body.str(), s.body.str(), s.body.str()
		switch {
		case path != job:
		case result != "done":
			return fmt.Errorf("systemd could not make %s: its job ended with %q", name, result)
		default:
			return nil
		}
	}
}

// unit is the body of StartTransientUnit.
func unit(name, slice string, pids []int) []byte {
	e := new(encoder)
	e.str(name)
	e.str("fail") // when there is one of that name
	e.array(8, func() {
		text := func(name, value string) {
			e.property(name, "s")
			e.str(value)
		}
		text("Description", "plyfs container "+strings.TrimSuffix(strings.TrimPrefix(name, "plyfs-"), ".scope"))
		text("CollectMode", "inactive-or-failed")
		if slice != "" {
			text("Slice", slice)
		}
		e.property("PIDs", "au")
		e.array(4, func() {
			for _, pid := range pids {
				e.u32(uint32(pid))
			}
		})
		e.property("Delegate", "b")
		e.u32(1)
	})
	e.array(8, func() {}) // further units
	return e.b
}

// Attach moves a process into a group below the scope, which the caller has
// made there.
func (m *Manager) Attach(name, below string, pid int) error {
	c, err := m.dial()
	if err != nil {
		return err
	}
	defer c.close()
	e := new(encoder)
	e.str(name)
	e.str(below)
	e.array(4, func() { e.u32(uint32(pid)) })
	if _, err := c.call(&call{manager, "AttachProcessesToUnit", "ssau", e.b}); err != nil {
		return fmt.Errorf("systemd doesn't take process %d into %s: %w", pid, name, err)
	}
	return nil
}

func (m *Manager) dial() (*conn, error) {
	c, err := dial(m.socket)
	if err == nil && !m.direct {
		if _, err = c.call(&call{"org.freedesktop.DBus", "Hello", "", nil}); err != nil {
			c.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("systemd at %s: %w", m.socket, err)
	}
	return c, nil
}
