package node

import (
	"fmt"
	"math/bits"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is a piece of address space that is reserved once, so that no address
// in it ever moves, and filled in chunks. Chunks are allocated before they are
// touched: a page of a memfd that cannot be had is a SIGBUS, which would end the
// server.
type arena struct {
	mem     []byte
	fd      int // -1 when mem is on the Go heap (tests under the race detector)
	present []uint64
	size    int // bytes up to which chunks were ever allocated
}

const chunkSize = 256 << 10

// newArena reserves up to limit bytes; where the address space is limited
// (RLIMIT_AS, 32 bits) it takes what it gets.
func newArena(name string, wanted int64) (*arena, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("node table: memfd_create: %w", err)
	}
	if bits.UintSize == 32 {
		wanted = min(wanted, 256<<20)
	}
	limit := int(wanted)
	for ; limit >= chunkSize; limit /= 2 {
		mem, err := unix.Mmap(fd, 0, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
		if err == nil {
			// Nobody may shorten the file under our mapping.
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
				unix.Munmap(mem)
				unix.Close(fd)
				return nil, fmt.Errorf("node table: seal: %w", err)
			}
			return &arena{mem: mem, fd: fd, present: make([]uint64, (limit/chunkSize+63)/64)}, nil
		}
		if err != unix.ENOMEM {
			unix.Close(fd)
			return nil, fmt.Errorf("node table: mmap: %w", err)
		}
	}
	unix.Close(fd)
	return nil, fmt.Errorf("node table: no address space for %d bytes (ulimit -v?)", chunkSize)
}

// openArena maps what another process has filled. It takes the descriptor over.
func openArena(fd int, wanted int64) (*arena, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && (st.Size%chunkSize != 0 || st.Size > wanted) {
		err = fmt.Errorf("a size of %d bytes", st.Size)
	}
	if bits.UintSize == 32 {
		wanted = min(wanted, 256<<20)
	}
	limit := int(wanted)
	for ; err == nil && limit >= chunkSize && int64(limit) >= st.Size; limit /= 2 {
		var mem []byte
		mem, err = unix.Mmap(fd, 0, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
		if err == nil {
			a := &arena{mem: mem, fd: fd, present: make([]uint64, (limit/chunkSize+63)/64), size: int(st.Size)}
			if err = a.find(); err == nil {
				return a, nil
			}
			_ = unix.Munmap(mem)
		} else if err == unix.ENOMEM {
			err = nil // with less address space
		}
	}
	unix.Close(fd)
	if err == nil {
		err = unix.ENOMEM
	}
	return nil, fmt.Errorf("node table: mmap: %w", err)
}

// find finds the chunks that have something in them.
func (a *arena) find() error {
	for off := int64(0); off < int64(a.size); {
		data, err := unix.Seek(a.fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return nil
		}
		if err != nil {
			return err
		}
		chunk := int(data / chunkSize)
		if err := a.touch(chunk); err != nil { // all of it
			return err
		}
		off = int64(chunk+1) * chunkSize
	}
	return nil
}

// newHeapArena is an arena that the race detector sees.
func newHeapArena(limit int) *arena {
	// A slice of words, so that 64-bit atomics are aligned everywhere.
	words := make([]uint64, limit/8)
	return &arena{
		mem: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), limit), fd: -1,
		present: make([]uint64, (limit/chunkSize+63)/64),
	}
}

func (a *arena) close() {
	if a.fd >= 0 {
		_ = unix.Munmap(a.mem)
		_ = unix.Close(a.fd)
	}
}

func (a *arena) has(chunk int) bool { return a.present[chunk/64]&(1<<(chunk%64)) != 0 }

// touch makes the chunk usable.
func (a *arena) touch(chunk int) error {
	if a.has(chunk) {
		return nil
	}
	end := (chunk + 1) * chunkSize
	if end > len(a.mem) {
		return os.ErrInvalid
	}
	if a.fd >= 0 {
		if err := unix.Fallocate(a.fd, 0, int64(chunk*chunkSize), chunkSize); err != nil {
			return err
		}
	}
	a.present[chunk/64] |= 1 << (chunk % 64)
	a.size = max(a.size, end)
	return nil
}

// release gives the memory of a chunk back; it reads as zeros afterwards and
// must be touched before it is used again.
func (a *arena) release(chunk int) {
	if !a.has(chunk) {
		return
	}
	if a.fd >= 0 {
		if unix.Fallocate(a.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(chunk*chunkSize), chunkSize) != nil {
			return
		}
	}
	a.present[chunk/64] &^= 1 << (chunk % 64)
}
