package fusefs

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// device is where requests come from and replies go to: /dev/fuse, or a test.
type device interface {
	read(p []byte) (int, syscall.Errno)
	write(p []byte) syscall.Errno
	// waiting says whether a request can be read at once.
	waiting() bool
	close() error
}

// fdDevice is an open /dev/fuse that belongs to a mount.
type fdDevice int

// read waits for a request. It is a raw system call and not os.File: that one
// would take a lock and register the descriptor with the runtime's poller.
func (d fdDevice) read(p []byte) (int, syscall.Errno) {
	n, _, e := syscall.Syscall(syscall.SYS_READ, uintptr(d), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), e
}

// rawReply bounds the replies that are written without telling the scheduler:
// the kernel copies them and never waits, so giving the CPU slot away costs more
// than the call. Bigger ones take long enough to hold up a garbage collection.
const rawReply = 64 << 10

func (d fdDevice) write(p []byte) syscall.Errno {
	var e syscall.Errno
	if len(p) <= rawReply {
		_, _, e = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(d), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	} else {
		_, _, e = syscall.Syscall(syscall.SYS_WRITE, uintptr(d), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	}
	return e
}

func (d fdDevice) waiting() bool {
	p := []unix.PollFd{{Fd: int32(d), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}

func (d fdDevice) close() error { return unix.Close(int(d)) }

// buffers are one reader's memory. It is mapped and not allocated: it is page
// aligned, the garbage collector never sees it, and pages that no request
// touched cost nothing.
type buffers struct {
	mem     []byte
	in, out []byte
}

// newBuffers maps a request and a reply buffer. They begin so that the data of a
// WRITE and of a READ start on a page boundary: the copies between page
// cache and buffer are then whole pages, and O_DIRECT below us is possible.
func newBuffers() (*buffers, error) {
	page := os.Getpagesize()
	half := page + maxData + page
	mem, err := unix.Mmap(-1, 0, 2*half, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("no memory for a reader's buffers (%d bytes): %w", 2*half, err)
	}
	return &buffers{
		mem: mem,
		in:  mem[page-writeHeaderSize : half : half],
		out: mem[half+page-outHeaderSize:],
	}, nil
}

// populate has memory behind all of the request buffer. A page that the kernel
// has to find while it copies a request is not given to a process that was
// killed in that moment: the request would end with EIO, and nobody would see it
// again.
func (b *buffers) populate() {
	in := b.mem[:len(b.mem)/2]
	if unix.Madvise(in, unix.MADV_POPULATE_WRITE) == nil {
		return
	}
	for i := 0; i < len(in); i += os.Getpagesize() { // before Linux 5.14
		in[i] = 0
	}
}

func (b *buffers) free() {
	_ = unix.Munmap(b.mem) // it was mapped by us: can't fail
	b.mem, b.in, b.out = nil, nil, nil
}
