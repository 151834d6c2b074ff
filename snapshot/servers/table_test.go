package servers

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTable: what a server counts is read in the daemon's mapping of the same
// memory, by the mount that has the slot only, and after the server is gone.
func TestTable(t *testing.T) {
	server, err := NewTable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := passTable(t, server)
	slot, ref := server.Take()
	if _, _, known, ok := daemon.read(ref); known || !ok {
		t.Errorf("new: known %v, there %v", known, ok)
	}
	slot.Bytes.Add(4096)
	slot.Inodes.Add(2)
	slot.Known.Store(1)
	if b, i, known, ok := daemon.read(ref); b != 4096 || i != 2 || !known || !ok {
		t.Errorf("counted: %d bytes, %d inodes, %v, %v", b, i, known, ok)
	}
	slot.Bytes.Add(-9999) // a count that is off is not shown as less than nothing
	if b, _, _, _ := daemon.read(ref); b != 0 {
		t.Errorf("%d bytes", b)
	}
	server.Give(ref)
	if _, _, _, ok := daemon.read(ref); ok {
		t.Error("a mount that is gone has a count")
	}
	slot2, ref2 := server.Take()
	if slot2 != slot {
		t.Error("the slot isn't used again")
	}
	if _, _, _, ok := daemon.read(ref); ok {
		t.Error("another mount's count")
	}
	if _, _, known, ok := daemon.read(ref2); known || !ok {
		t.Errorf("the next: known %v, there %v", known, ok)
	}
	if err := server.file.Truncate(0); err == nil {
		t.Error("the memory can be taken from under the daemon")
	}
	for _, bad := range []SlotRef{{}, {-1, 1}, {tableSlots, 1}} {
		if _, _, _, ok := daemon.read(bad); ok {
			t.Errorf("slot %+v", bad)
		}
	}
	server.unmap()
	_ = server.file.Close()
	if _, _, _, ok := daemon.read(ref2); !ok {
		t.Error("gone with the server")
	}
	daemon.unmap()
}

// TestTableIsFull: a server has more mounts than slots.
func TestTableIsFull(t *testing.T) {
	s, err := NewTable()
	if err != nil {
		t.Fatal(err)
	}
	defer s.unmap()
	for range tableSlots - 1 {
		if slot, _ := s.Take(); slot == nil {
			t.Fatal("full too early")
		}
	}
	slot, ref := s.Take()
	if slot != nil || ref != (SlotRef{}) {
		t.Errorf("%v", ref)
	}
	s.Give(ref) // nothing
	if slot, _ := s.Take(); slot != nil {
		t.Error("the slot of nobody")
	}
}

// passTable is askTable with a server that has this table.
func passTable(t *testing.T, server *Table) *Table {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var q Request
		if newConn(c).dec.Decode(&q) == nil && q.Op == OpTable {
			_ = server.Pass(c, Response{OK: true})
		}
	}()
	daemon, err := askTable(socket)
	if err != nil || daemon == nil {
		t.Fatal(daemon, err)
	}
	return daemon
}

// TestForeignTable: what could be shrunk isn't mapped.
func TestForeignTable(t *testing.T) {
	fd, err := unix.MemfdCreate("foreign", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "foreign")
	defer f.Close()
	for _, size := range []int64{0, int64(tableSize)} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := mapTable(f, unix.PROT_READ); err == nil {
			t.Errorf("a file of %d bytes without seals", size)
		}
	}
}
