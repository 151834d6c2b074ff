package scope

import (
	"bufio"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// property and auxiliary are arguments of StartTransientUnit, as another
// implementation of D-Bus has them.
type (
	property struct {
		Name  string
		Value dbus.Variant
	}
	auxiliary struct {
		Name       string
		Properties []property
	}
)

// fake is a systemd that makes nothing.
type fake struct {
	conn   *dbus.Conn
	result string // of the job
	got    []string
}

func (f *fake) StartTransientUnit(name, mode string, properties []property, more []auxiliary) (dbus.ObjectPath, *dbus.Error) {
	if f.result == "" {
		return "", dbus.MakeFailedError(errors.New("no more units."))
	}
	f.got = append(f.got, name, mode)
	for _, p := range properties {
		f.got = append(f.got, p.Name+"="+p.Value.String())
	}
	const job = dbus.ObjectPath(object + "/job/7")
	// Those of others, one of them before the answer, and one that isn't.
	for _, s := range [][]any{
		{"JobNew", uint32(7), job, name},
		{"JobRemoved", uint32(6), dbus.ObjectPath(object + "/job/6"), "other.scope", "failed"},
		{"JobRemoved", uint32(7), job, name, f.result},
	} {
		if err := f.conn.Emit(object, manager+"."+s[0].(string), s[1:]...); err != nil {
			return "", dbus.MakeFailedError(err)
		}
	}
	if len(more) > 0 {
		return "", dbus.MakeFailedError(errors.New("further units"))
	}
	return job, nil
}

func (f *fake) AttachProcessesToUnit(name, below string, pids []uint32) *dbus.Error {
	f.got = append(f.got, name, below)
	if len(pids) != 1 || pids[0] != 4711 {
		return dbus.MakeFailedError(errors.New("wrong process"))
	}
	return nil
}

// newBus starts a bus, with a systemd on it when one is given.
func newBus(t *testing.T, f *fake) *Manager {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "bus")
	cmd := exec.Command(require.Tool(t, "dbus-daemon"), "--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--address=unix:path="+socket)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("dbus-daemon did not start")
	}
	if f == nil {
		return &Manager{socket, false}
	}
	if f.conn, err = dbus.Connect("unix:path=" + socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.conn.Close() })
	if err := f.conn.Export(f, object, manager); err != nil {
		t.Fatal(err)
	}
	if reply, err := f.conn.RequestName(systemd, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return &Manager{socket, false}
}

func TestStart(t *testing.T) {
	f := &fake{result: "done"}
	m := newBus(t, f)
	if err := m.Start("plyfs-ab.scope", "my.slice", 4711, 12); err != nil {
		t.Fatal(err)
	}
	want := `plyfs-ab.scope fail Description="plyfs container ab" CollectMode="inactive-or-failed" Slice="my.slice" PIDs=@au [4711, 12] Delegate=true`
	if got := strings.Join(f.got, " "); got != want {
		t.Errorf("asked for %s\nwant      %s", got, want)
	}
	f.got = nil
	if err := m.Attach("plyfs-ab.scope", "/payload", 4711); err != nil || strings.Join(f.got, " ") != "plyfs-ab.scope /payload" {
		t.Error(f.got, err)
	}
}

// TestRefusals: whatever goes wrong is an error that says so, in time.
func TestRefusals(t *testing.T) {
	check := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check(newBus(t, &fake{result: "failed"}).Start("a.scope", "", 1), `systemd could not make a.scope: its job ended with "failed"`)
	check(newBus(t, &fake{}).Start("a.scope", "", 1), "systemd doesn't make a.scope: no more units (org.freedesktop.DBus.Error.Failed)")
	check(newBus(t, &fake{}).Attach("a.scope", "/payload", 1), "systemd doesn't take process 1 into a.scope: wrong process")
	check(newBus(t, nil).Start("a.scope", "", 1), "systemd doesn't make a.scope: ")
	none := filepath.Join(t.TempDir(), "bus")
	check((&Manager{none, false}).Start("a.scope", "", 1), "systemd at "+none+": no such file or directory")
	if find(none, none) != nil {
		t.Error("a manager was found where none is")
	}
}

// TestMalformed: what isn't D-Bus is refused, wherever it is cut off.
func TestMalformed(t *testing.T) {
	whole := (&call{manager, "Reload", "s", []byte{1, 0, 0, 0, 'x', 0}}).encode(1)
	if rest, err := lengthAfter(whole[:headLength]); err != nil || rest != len(whole)-headLength {
		t.Fatal(rest, err, len(whole))
	}
	if m, err := parse(whole); err != nil || m.member != "Reload" || m.body.str() != "x" {
		t.Fatal(m, err)
	}
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0xff
		if rest, err := lengthAfter(bad[:headLength]); err == nil && rest == len(bad)-headLength {
			if m, err := parse(bad); err == nil {
				m.body.str()
			}
		}
	}
}
