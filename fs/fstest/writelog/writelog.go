// Package writelog is a disk for tests that keeps the order of what is written to
// it: what dm-log-writes does, without device mapper and its modules. The disk is
// the only file of a FUSE file system; a loop device on it sends each write as a WRITE
// and each flush of the disk's cache as an FSYNC. Image makes what a power loss at
// some point would leave.
//
// A process of its own serves it, the test's program started again: one that served
// the disk that it has mounted could not end when it is killed, with a thread of its
// own waiting for the disk and its descriptors open as long.
package writelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is one.
type Disk struct {
	Path string // of the file, for mount -o loop

	base []byte // when the log began
	file *os.File
	read int64 // so far, of the file
	log  []entry
}

// entry is a write, or a flush.
type entry struct {
	off   int64
	data  []byte
	flush bool
}

// New makes a disk of the content, which begins its log, and mounts it on dir,
// until the test ends. The log is kept in a file in scratch.
func New(t testing.TB, dir, scratch string, content []byte) *Disk {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	base := scratch + "/writelog-base"
	must(os.WriteFile(base, content, 0o600))
	image, err := os.Open(base)
	must(err)
	defer image.Close()
	d := &Disk{Path: dir + "/disk", base: content}
	d.file, err = os.OpenFile(scratch+"/writelog", os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	must(err)
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	must(err)
	defer fuse.Close()
	must(unix.Mount("writelog", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())))
	ended := make(chan error, 1)
	begun := make(chan error, 1)
	go func() {
		// Pdeathsig is about the thread that forks.
		runtime.LockOSThread()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), serverEnv+"=1")
		cmd.ExtraFiles = []*os.File{fuse, image, d.file}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		err := cmd.Start()
		begun <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	must(<-begun)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
			_ = unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE)
		}
		if err := <-ended; err != nil {
			t.Errorf("the server of the disk: %v", err)
		}
		d.file.Close()
	})
	return d
}

// entries reads what has been added to the log.
func (d *Disk) entries() []entry {
	var head [12]byte
	for {
		if n, _ := d.file.ReadAt(head[:], d.read); n < len(head) {
			return d.log
		}
		e := entry{off: int64(binary.LittleEndian.Uint64(head[:])), data: make([]byte, binary.LittleEndian.Uint32(head[8:]))}
		if n, _ := d.file.ReadAt(e.data, d.read+int64(len(head))); n < len(e.data) {
			return d.log // it is being added
		}
		e.flush = e.off < 0
		d.read += int64(len(head) + len(e.data))
		d.log = append(d.log, e)
	}
}

// Len is how much is in the log.
func (d *Disk) Len() int { return len(d.entries()) }

// Flushes are the places in the log right after a flush.
func (d *Disk) Flushes() (at []int) {
	for i, e := range d.entries() {
		if e.flush {
			at = append(at, i+1)
		}
	}
	return at
}

// Image writes to path what a power loss when the log had n entries would leave:
// what was written before the last flush is there, and of the rest what kept says
// (nil: all).
func (d *Disk) Image(path string, n int, kept func() bool) error {
	img, flushed := bytes.Clone(d.base), 0
	log := d.entries()[:n]
	for i := range log {
		if log[i].flush {
			flushed = i
		}
	}
	for i, e := range log {
		if !e.flush && (i < flushed || kept == nil || kept()) {
			copy(img[e.off:], e.data)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(img)))
	zero := make([]byte, 64<<10)
	for off := 0; off < len(img) && err == nil; off += len(zero) {
		if part := img[off:min(off+len(zero), len(img))]; !bytes.Equal(part, zero[:len(part)]) {
			_, err = f.WriteAt(part, int64(off))
		}
	}
	return errors.Join(err, f.Close())
}
