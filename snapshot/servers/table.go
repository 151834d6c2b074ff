package servers

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Slot is where a server process counts what one mount takes. Known is 1 when
// the numbers are right.
type Slot struct {
	Bytes, Inodes, Known atomic.Int64
	// owner is the number of the mount that has the slot, 0 when it is free.
	owner atomic.Uint64
	_     [4]int64 // a cache line: mounts don't wait for each other
}

// SlotRef names a slot for as long as one mount has it; zero is none.
type SlotRef struct {
	Index int    `json:",omitempty"`
	Owner uint64 `json:",omitempty"`
}

// Table is the memory that a server process counts in and that the daemon has
// mapped as well: it knows the usage of a mount without asking. It is a memfd
// that can't shrink, so reading it can't fail, and what the daemon has mapped
// outlives the server.
type Table struct {
	file  *os.File // the server's; nil in the daemon
	slots []Slot

	mu   sync.Mutex
	free []int  // protected by mu
	last uint64 // protected by mu; the mounts are numbered

	again map[int]bool // protected by mu: slots that were taken again, see OpenTable
}

// tableSlots is how many mounts of a server process are counted there; more
// are asked for. What isn't used takes no memory.
const (
	tableSlots = 4096
	tableSize  = tableSlots * int(unsafe.Sizeof(Slot{}))
)

// NewTable makes the table of a server process.
func NewTable() (*Table, error) {
	fd, err := unix.MemfdCreate("plyfs-usage", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory for usage: %w", err)
	}
	f := os.NewFile(uintptr(fd), "usage")
	if err = unix.Ftruncate(fd, int64(tableSize)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	}
	var t *Table
	if err == nil {
		t, err = mapTable(f, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("memory for usage: %w", err)
	}
	t.file = f
	for i := tableSlots - 1; i > 0; i-- { // 0 is no slot
		t.free = append(t.free, i)
	}
	return t, nil
}

// OpenTable maps the table of a server that is gone, for the one that goes on. It
// takes the descriptor over. Slots that aren't taken again are free after Sweep.
func OpenTable(fd int) (*Table, error) {
	f := os.NewFile(uintptr(fd), "usage")
	t, err := mapTable(f, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("memory for usage: %w", err)
	}
	t.file = f
	t.again = map[int]bool{}
	for i := range t.slots {
		t.last = max(t.last, t.slots[i].owner.Load())
	}
	return t, nil
}

// TakeAgain gives a mount the slot that it had with the server before; nil when it
// had none. What is in there isn't right any more.
func (t *Table) TakeAgain(r SlotRef) *Slot {
	if r.Index <= 0 || r.Index >= tableSlots {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[r.Index]
	if t.again[r.Index] || s.owner.Load() != r.Owner {
		return nil
	}
	t.again[r.Index] = true
	s.Known.Store(0)
	s.Bytes.Store(0)
	s.Inodes.Store(0)
	return s
}

// Sweep makes free what nobody has taken again.
func (t *Table) Sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := tableSlots - 1; i > 0; i-- {
		if !t.again[i] {
			t.slots[i].owner.Store(0)
			t.free = append(t.free, i)
		}
	}
}

// FD is the descriptor of the memory.
func (t *Table) FD() int { return int(t.file.Fd()) }

func mapTable(f *os.File, prot int) (*Table, error) {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && (seals&unix.F_SEAL_SHRINK == 0 || st.Size < int64(tableSize)) {
		err = errors.New("it isn't a table of usage")
	}
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, tableSize, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Table{slots: unsafe.Slice((*Slot)(unsafe.Pointer(&mem[0])), tableSlots)}, nil
}

// Take gives a mount its slot; nil when all are taken.
func (t *Table) Take() (*Slot, SlotRef) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		return nil, SlotRef{}
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.last++
	s := &t.slots[i]
	s.Known.Store(0)
	s.Bytes.Store(0)
	s.Inodes.Store(0)
	s.owner.Store(t.last)
	return s, SlotRef{i, t.last}
}

// Give takes a slot back that nobody counts in any more.
func (t *Table) Give(r SlotRef) {
	if r.Index == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots[r.Index].owner.Store(0)
	t.free = append(t.free, r.Index)
}

// read is what the mount that r was given to takes; ok is false when it is
// gone.
func (t *Table) read(r SlotRef) (bytes, inodes int64, known, ok bool) {
	if t == nil || r.Index <= 0 || r.Index >= tableSlots {
		return 0, 0, false, false
	}
	s := &t.slots[r.Index]
	known = s.Known.Load() == 1
	bytes, inodes = max(s.Bytes.Load(), 0), max(s.Inodes.Load(), 0)
	return bytes, inodes, known, s.owner.Load() == r.Owner
}

// unmap gives the daemon's mapping back. Nobody may read afterwards.
func (t *Table) unmap() {
	if t != nil {
		_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&t.slots[0])), tableSize))
	}
}
