package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (x *exerciser) write() error {
	off, n := x.span(x.max)
	p := x.fill(n)
	x.note("write %d+%d", off, n)
	if _, err := x.f.WriteAt(p, int64(off)); err != nil {
		return err
	}
	x.put(off, p)
	return nil
}

func (x *exerciser) read() error {
	off, n := x.span(len(x.want))
	x.note("read %d+%d", off, n)
	p := make([]byte, n)
	if n > 0 {
		if _, err := x.f.ReadAt(p, int64(off)); err != nil {
			return err
		}
	}
	return x.check(off, p)
}

// page rounds down to a page.
func page(n int) int { return n &^ (os.Getpagesize() - 1) }

func (x *exerciser) mapRead() error {
	off, n := x.span(len(x.want))
	if n == 0 {
		return nil
	}
	x.note("map and read %d+%d", off, n)
	start := page(off)
	m, err := unix.Mmap(x.fd(), int64(start), off-start+n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	err = x.check(off, m[off-start:])
	return firstOf(err, unix.Munmap(m))
}

func (x *exerciser) mapWrite() error {
	off, n := x.span(len(x.want))
	if n == 0 {
		return nil
	}
	x.note("map and write %d+%d", off, n)
	p := x.fill(n)
	start := page(off)
	m, err := unix.Mmap(x.fd(), int64(start), off-start+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	copy(m[off-start:], p)
	x.put(off, p)
	if x.rng.IntN(2) == 0 {
		x.note("msync")
		err = unix.Msync(m, unix.MS_SYNC)
	}
	return firstOf(err, unix.Munmap(m))
}

func (x *exerciser) truncate() error {
	n := x.rng.IntN(x.max)
	x.note("truncate to %d", n)
	if err := x.f.Truncate(int64(n)); err != nil {
		return err
	}
	if n <= len(x.want) {
		x.want = x.want[:n:n]
	} else {
		x.want = append(x.want, make([]byte, n-len(x.want))...)
	}
	return nil
}

func (x *exerciser) punch() error {
	return x.deallocate("punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
}

func (x *exerciser) zero() error {
	return x.deallocate("zero", unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE)
}

func (x *exerciser) deallocate(what string, mode uint32) error {
	off, n := x.span(len(x.want))
	if n == 0 {
		return nil
	}
	x.note("%s %d+%d", what, off, n)
	err := unix.Fallocate(x.fd(), mode, int64(off), int64(n))
	switch {
	case unsupported(err):
		return nil
	case err != nil:
		return fmt.Errorf("fallocate: %w", err)
	}
	clear(x.want[off : off+n])
	return nil
}

// copyRange copies within the file between two ranges that don't overlap.
func (x *exerciser) copyRange() error {
	off, n := x.span(len(x.want))
	to := off + n + x.rng.IntN(10_000)
	if n == 0 || to+n > x.max {
		return nil
	}
	x.note("copy_file_range %d+%d to %d", off, n, to)
	for done := 0; done < n; {
		in, out := int64(off+done), int64(to+done)
		got, err := unix.CopyFileRange(x.fd(), &in, x.fd(), &out, n-done, 0)
		if err != nil || got == 0 {
			if done == 0 && unsupported(err) {
				return nil
			}
			return fmt.Errorf("copy_file_range gave %d after %d: %w", got, done, err)
		}
		done += got
	}
	x.put(to, append([]byte(nil), x.want[off:off+n]...))
	return nil
}

// appendOne writes by a descriptor with O_APPEND.
func (x *exerciser) appendOne() error {
	p := x.fill(1 + x.rng.IntN(3000))
	if len(x.want)+len(p) > x.max {
		return nil
	}
	x.note("append %d", len(p))
	f, err := os.OpenFile(x.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	x.put(len(x.want), p)
	return firstOf(err, f.Close())
}

func (x *exerciser) sync() error {
	x.note("fsync")
	return x.f.Sync()
}

func (x *exerciser) reopen() error {
	x.note("close and open")
	err := x.f.Close()
	if err != nil {
		return err
	}
	x.f, err = os.OpenFile(x.path, os.O_RDWR, 0)
	return err
}

// otherFD reads by a second descriptor, half of the time with O_DIRECT.
func (x *exerciser) otherFD() error {
	flags, block := os.O_RDONLY, 1
	if x.rng.IntN(2) == 0 {
		flags, block = flags|unix.O_DIRECT, 4096
	}
	off, n := x.span(len(x.want))
	off, n = off/block*block, n/block*block
	if n == 0 {
		return nil
	}
	x.note("read %d+%d by another descriptor, flags %#x", off, n, flags)
	f, err := os.OpenFile(x.path, flags, 0)
	if err != nil {
		if unix.EINVAL == errnoOf(err) { // no O_DIRECT here
			return nil
		}
		return err
	}
	buf, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned
	if err != nil {
		return firstOf(err, f.Close())
	}
	got, err := f.ReadAt(buf, int64(off))
	if err == nil {
		err = x.check(off, buf[:got])
	}
	return firstOf(err, unix.Munmap(buf), f.Close())
}

func errnoOf(err error) unix.Errno {
	if p, ok := err.(*os.PathError); ok {
		if e, ok := p.Err.(unix.Errno); ok {
			return e
		}
	}
	return 0
}

// firstOf is the first error of several.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
