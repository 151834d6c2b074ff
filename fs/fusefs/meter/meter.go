package meter

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/union"
)

const (
	// Ops is larger than any opcode of FUSE that we know.
	Ops = 64
	// Places is how many goroutines count: the readers, and one place for all
	// slow tasks, the last.
	Places = 17
	// Shared is the place that several goroutines count in.
	Shared = Places - 1

	magic   = 0x706c796d
	version = 1
)

// Head is the first page.
type Head struct {
	magic, version uint32
	size           uint64
	// PID is the server's, in its own namespace.
	PID atomic.Int64
	// Began is when the mount was made, in nanoseconds of Unix.
	Began atomic.Int64
	_     [32]byte

	// The leases, each until a time of CLOCK_MONOTONIC; 0: nobody.
	watched, traced atomic.Int64
	_               [48]byte

	Tree union.Tally
	_    [64 - unsafe.Sizeof(union.Tally{})%64]byte

	next atomic.Uint64 // of the ring: how many slots were ever taken
	_    [56]byte
}

// Counts are the requests that one goroutine has served, by opcode (0 is one that
// we don't know), the bytes of READ and WRITE, and whether answers to LOOKUP,
// GETATTR and READDIRPLUS were in memory or had to be asked of a layer.
type Counts struct {
	N             [Ops]atomic.Uint64
	Read, Written atomic.Uint64
	Known, Asked  atomic.Uint64
	_             [96]byte // whole cache lines
}

// Times is how long requests took: for each opcode, how many took less than
// 256 ns, 512 ns and so on, and the nanoseconds of all.
type Times struct {
	N   [Ops][Buckets]atomic.Uint64
	Sum [Ops]atomic.Uint64
}

// layout is the memory as a whole.
type layout struct {
	head   Head
	_      [4096 - unsafe.Sizeof(Head{})]byte
	counts [Places]Counts
	times  [Places]Times
	ring   [Slots]Slot
}

const (
	frontSize = int64(unsafe.Offsetof(layout{}.times))
	timesSize = int64(unsafe.Offsetof(layout{}.ring)) - frontSize
	size      = int64(unsafe.Sizeof(layout{}))
)

// Meter is that memory.
type Meter struct {
	*Head
	counts *[Places]Counts
	times  *[Places]Times // nil: nobody can look
	ring   *[Slots]Slot   // so is this

	file *os.File // nil of who looks: nobody is to find it in his descriptors
	mem  []byte

	// Of who looks: where it was found, and what was.
	path     string
	dev, ino uint64
	reserved [2]bool // Times, ring
}

// Private is a meter that only this process reads: its counts.
func Private() *Meter {
	return &Meter{Head: &Head{}, counts: new([Places]Counts)}
}

// Prefix begins the names of meters, which /proc/PID/fd shows.
const Prefix = "plyfs-meter:"

// File makes the memory of a meter, empty as yet. What says which mount it is of:
// the mount's device number, or the id of a container.
func File(what string) (*os.File, error) {
	fd, err := unix.MemfdCreate(Prefix+what, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory for counters: memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), Prefix+what), nil
}

// New makes a meter for a mount.
func New(what string) (*Meter, error) {
	f, err := File(what)
	if err != nil {
		return nil, err
	}
	return Serve(f)
}

// Serve maps a meter for the server, one that File has made or that a server
// before has counted in. It takes the file over.
func Serve(f *os.File) (*Meter, error) {
	fd := int(f.Fd())
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	fresh := err == nil && st.Size == 0
	if fresh {
		// The touch of a page that can't be had would kill the server.
		if err = unix.Fallocate(fd, 0, 0, frontSize); err == nil {
			err = unix.Ftruncate(fd, size)
		}
		if err == nil {
			_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
		}
	}
	var m *Meter
	if err == nil {
		m, err = mapped(f, fresh)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("memory for counters: %w", err)
	}
	m.PID.Store(int64(os.Getpid()))
	return m, nil
}

// Open maps the meter of a server that may be of another version.
func Open(path string) (*Meter, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := mapped(f, false)
	if err != nil {
		return nil, err
	}
	m.file, m.path = nil, path
	return m, nil
}

// errOther is an error of mapped.
var errOther = errors.New("the counters are those of another version of plyfs; plyfs upgrade hands a mount to this one")

func mapped(f *os.File, fresh bool) (*Meter, error) {
	fd := int(f.Fd())
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && (st.Size != size || seals&unix.F_SEAL_SHRINK == 0) {
		err = errOther
	}
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	l := (*layout)(unsafe.Pointer(unsafe.SliceData(mem)))
	if fresh {
		l.head.magic, l.head.version, l.head.size = magic, version, uint64(size)
		l.head.Began.Store(time.Now().UnixNano())
	}
	if l.head.magic != magic || l.head.version != version || l.head.size != uint64(size) {
		_ = unix.Munmap(mem)
		return nil, errOther
	}
	return &Meter{
		Head: &l.head, counts: &l.counts, times: &l.times, ring: &l.ring,
		file: f, mem: mem, dev: uint64(st.Dev), ino: st.Ino,
	}, nil
}

// FD is the descriptor of the memory, which stays the meter's; -1 for a private
// one, and for who looks.
func (m *Meter) FD() int {
	if m.file == nil {
		return -1
	}
	return int(m.file.Fd())
}

// Close unmaps the memory: nobody may count in it any more.
func (m *Meter) Close() error {
	if m == nil || m.mem == nil {
		return nil
	}
	err := unix.Munmap(m.mem)
	m.mem, m.Head, m.counts, m.times, m.ring = nil, nil, nil, nil, nil
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}
