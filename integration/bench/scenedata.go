package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// data: big files.

func makeData(f *fixture) error {
	if err := f.layers(1); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(f.lowers[0], "big"))
	if err != nil {
		return err
	}
	defer out.Close()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for range f.size.Data >> 20 {
		if _, err := out.Write(block); err != nil {
			return err
		}
	}
	sparse := filepath.Join(f.lowers[0], "sparse")
	return errors.Join(out.Sync(), put(sparse, data), os.Truncate(sparse, f.size.Data))
}

func runData(b *bench) error {
	size, big := b.Size.Data, b.path("big")
	reads := int(size >> 12 / 64)
	return errors.Join(
		b.coldAndWarm("sequential read", func() error { return readWhole(big) }),
		b.coldAndWarm("read through a mapping", func() error { return touch(big, size) }),
		b.cold("random read, 4 KiB", func() error {
			f, err := os.Open(big)
			if err != nil {
				return err
			}
			defer f.Close()
			// No read-ahead: each read is one of its own.
			if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
				return err
			}
			r, buf := rand.New(rand.NewPCG(1, 2)), make([]byte, 4096)
			return each(reads, func(int) error {
				_, err := f.ReadAt(buf, r.Int64N(size>>12)<<12)
				return err
			})
		}),
		b.time("sequential write, 1 MiB", func() error {
			return writing(b.path("new"), func(f *os.File) error {
				buf := make([]byte, 1<<20)
				return each(int(size>>20/4), func(int) error {
					_, err := f.Write(buf)
					return err
				})
			})
		}),
		b.time("random write, 4 KiB", func() error {
			return writing(b.path("new"), func(f *os.File) error {
				r, buf := rand.New(rand.NewPCG(3, 4)), make([]byte, 4096)
				return each(reads, func(int) error {
					_, err := f.WriteAt(buf, r.Int64N(size>>12/4)<<12)
					return err
				})
			})
		}),
		b.time("write and fsync, 4 KiB", func() error {
			return writing(b.path("log"), func(f *os.File) error {
				buf := make([]byte, 4096)
				return each(100, func(int) error {
					_, err := f.Write(buf)
					return errors.Join(err, f.Sync())
				})
			})
		}),
		firstByte(b, "first byte written, big lower file", "big"),
		firstByte(b, "first byte written, sparse lower file", "sparse"))
}

// firstByte is what it takes until a byte of a lower file is changed for good.
func firstByte(b *bench, row, file string) error {
	if b.Variant.Native {
		return nil
	}
	return b.time(row, func() error {
		f, err := os.OpenFile(b.path(file), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("x"), 12345)
		return errors.Join(err, f.Sync(), f.Close())
	})
}

func writing(path string, f func(*os.File) error) error {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f(out), out.Close())
}

func readWhole(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

// touch reads a byte of every page.
func touch(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	sum := byte(0)
	for i := 0; i < len(m); i += 4096 {
		sum += m[i]
	}
	if err := unix.Munmap(m); err != nil || sum == 1 {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}
