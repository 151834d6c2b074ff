package fusefs

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flight is the memory that tells the next server which requests the last one
// died on. It is one page that somebody else holds, too.
type Flight struct {
	page *flightPage
	mem  []byte
	fd   int

	mu   sync.Mutex
	free []int // seats; protected by mu
}

// flightPage is that page. The keeper reads Taken in it: the layout is a part of
// the format.
type flightPage struct {
	magic, version uint32
	taken          atomic.Uint64 // requests that were begun, ever
	_              [48]byte
	seats          [flightSeats]atomic.Uint64 // the request that is being handled; 0: none
	suspects       [flightSuspects]suspect
}

// suspect is a request that servers died on.
type suspect struct {
	unique uint64
	weight uint64
}

const (
	flightMagic    = 0x70666c74
	flightVersion  = 1
	flightSeats    = 128
	flightSuspects = 64

	// resent is the bit that the kernel sets in the number of a request that
	// it sends again.
	resent = 1 << 63
)

// What a death weighs against each request that was being handled. One that
// the server caused itself (a panic, a fault, a hang) says more than a SIGKILL,
// which comes from outside; from the weight of two of the former on the request is
// answered EIO.
const (
	WeightCrash  = 4
	WeightKilled = 1
	poisonous    = 2 * WeightCrash
)

// The places in the page that a keeper reads.
const (
	FlightTaken = unsafe.Offsetof(flightPage{}.taken)
	FlightSeats = unsafe.Offsetof(flightPage{}.seats)
	SeatCount   = flightSeats
)

// NewFlight makes the memory for a new mount.
func NewFlight() (*Flight, error) {
	fd, err := unix.MemfdCreate("plyfs-flight", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Fallocate(fd, 0, 0, int64(unsafe.Sizeof(flightPage{}))); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("no memory for a page: %w", err)
	}
	f, err := OpenFlight(fd, 0)
	if err == nil {
		f.page.magic, f.page.version = flightMagic, flightVersion
	}
	return f, err
}

// OpenFlight maps the memory of a server that died, and weighs what it died on.
// It takes the descriptor over.
func OpenFlight(fd int, weight uint64) (*Flight, error) {
	size := int(unsafe.Sizeof(flightPage{}))
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Size != int64(size) {
		err = unix.EINVAL
	}
	var mem []byte
	if err == nil {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("the record of requests in flight: %w", err)
	}
	f := &Flight{page: (*flightPage)(unsafe.Pointer(&mem[0])), mem: mem, fd: fd}
	for i := range flightSeats {
		f.free = append(f.free, flightSeats-1-i)
	}
	f.weigh(weight)
	return f, nil
}

// FD is the descriptor of the memory.
func (f *Flight) FD() int { return f.fd }

// weigh makes suspects of what is on the seats. Who was one and isn't there any
// more is none.
func (f *Flight) weigh(weight uint64) {
	p := f.page
	before := p.suspects
	p.suspects = [flightSuspects]suspect{}
	n := 0
	for i := range p.seats {
		u := p.seats[i].Swap(0)
		if u == 0 || weight == 0 || n == flightSuspects {
			continue
		}
		w := weight
		for _, s := range before {
			if s.unique == u {
				w += s.weight
			}
		}
		p.suspects[n] = suspect{u, w}
		n++
	}
}

// poisoned says whether too many servers died on a request.
func (f *Flight) poisoned(unique uint64) bool {
	for i := range f.page.suspects {
		if s := &f.page.suspects[i]; s.unique == unique&^resent && s.weight >= poisonous {
			return true
		}
	}
	return false
}

// seat gives a goroutine that handles requests its place; nil when none is
// free.
func (f *Flight) seat() *atomic.Uint64 {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.free) == 0 {
		return nil
	}
	n := len(f.free) - 1
	i := f.free[n]
	f.free = f.free[:n]
	return &f.page.seats[i]
}

// leave gives a seat back.
func (f *Flight) leave(s *atomic.Uint64) {
	if s == nil {
		return
	}
	s.Store(0)
	i := (uintptr(unsafe.Pointer(s)) - uintptr(unsafe.Pointer(&f.page.seats[0]))) / unsafe.Sizeof(*s)
	f.mu.Lock()
	f.free = append(f.free, int(i))
	f.mu.Unlock()
}
