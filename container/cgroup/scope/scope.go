// Package scope asks systemd for a cgroup: a transient scope that is delegated
// to whoever asks. A hierarchy of version 2 has one writer, and where systemd
// runs that is systemd: for root the manager of the system, for users the one
// of their session (systemd --user), which lets them limit what they own.
//
// The package talks D-Bus, by the bus or by systemd's own socket. It touches
// no file of a cgroup and starts no process.
package scope

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Patience is how long systemd may take: it may be busy starting a session.
const Patience = 10 * time.Second

const (
	service  = "org.freedesktop.systemd1"
	object   = "/org/freedesktop/systemd1"
	manager  = service + ".Manager"
	finished = "JobRemoved"
)

// Manager is where a systemd can be spoken to.
type Manager struct {
	address string
	direct  bool // its own socket: there is no bus to register with
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
	if unix.Access(private, unix.W_OK) != nil {
		return nil
	}
	if bus == "" || unix.Access(bus, unix.W_OK) != nil {
		return &Manager{"unix:path=" + escape(private), true}
	}
	return &Manager{"unix:path=" + escape(bus), false}
}

// escape writes a path as an address of D-Bus has it.
func escape(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte(`-_/\*.`, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// property is one of a transient unit, as D-Bus has it.
type property struct {
	Name  string
	Value dbus.Variant
}

// auxiliary is a further unit to make; there never is one.
type auxiliary struct {
	Name       string
	Properties []property
}

// Start makes the scope name in a slice ("" is the manager's choice) with a
// process in it. It returns when the process is there. The scope goes with its
// last process.
func (m *Manager) Start(name, slice string, pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := m.connect(ctx)
	if err != nil {
		return fmt.Errorf("systemd at %s: %w", m.address, err)
	}
	defer conn.Close()
	if err := m.start(ctx, conn, name, slice, pid); err != nil {
		return fmt.Errorf("systemd didn't make %s: %w", name, err)
	}
	return nil
}

func (m *Manager) start(ctx context.Context, conn *dbus.Conn, name, slice string, pid int) error {
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	if !m.direct {
		if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(service), dbus.WithMatchInterface(manager), dbus.WithMatchMember(finished)); err != nil {
			return err
		}
	}
	systemd := conn.Object(service, object)
	if m.direct { // there systemd speaks only to those who said so
		if err := systemd.CallWithContext(ctx, manager+".Subscribe", 0).Err; err != nil {
			return err
		}
	}
	properties := []property{
		{"Description", dbus.MakeVariant("plyfs container " + strings.TrimSuffix(strings.TrimPrefix(name, "plyfs-"), ".scope"))},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	if slice != "" {
		properties = append(properties, property{"Slice", dbus.MakeVariant(slice)})
	}
	var job dbus.ObjectPath
	if err := systemd.CallWithContext(ctx, manager+".StartTransientUnit", 0, name, "fail", properties, []auxiliary{}).Store(&job); err != nil {
		return err
	}
	for {
		select {
		case s, ok := <-signals:
			if !ok {
				return errors.New("it closed the connection")
			}
			// JobRemoved(id, job, unit, result)
			if s.Name != manager+"."+finished || len(s.Body) != 4 || s.Body[1] != job {
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("its job ended with %q", s.Body[3])
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no answer in %v", Patience)
		}
	}
}

// Attach moves a process into a group below the scope, which the caller has
// made there.
func (m *Manager) Attach(name, below string, pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := m.connect(ctx)
	if err != nil {
		return fmt.Errorf("systemd at %s: %w", m.address, err)
	}
	defer conn.Close()
	call := conn.Object(service, object).CallWithContext(ctx, manager+".AttachProcessesToUnit", 0, name, below, []uint32{uint32(pid)})
	if call.Err != nil {
		return fmt.Errorf("systemd didn't take process %d into %s: %w", pid, name, call.Err)
	}
	return nil
}

func (m *Manager) connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.Dial(m.address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err == nil && !m.direct {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
