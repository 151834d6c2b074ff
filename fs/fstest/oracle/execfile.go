package oracle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// doFile does what opens a file and closes it again.
func (s *Side) doFile(o *Op) (string, error) {
	p := s.path(o.Path)
	switch o.Kind {
	case opTruncate:
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Size == o.Len {
			return sameSize, nil
		}
		return "", unix.Truncate(p, o.Len)
	case opCopy:
		return s.copyRange(o)
	case opTmpfile:
		return s.tmpfile(o)
	}
	fd, err := open(p, openModeOf(o), o.Mode)
	if err != nil {
		return "open", err
	}
	detail, err := onFile(fd, o, p)
	if cerr := unix.Close(fd); err == nil && cerr != nil {
		return "close", cerr
	}
	return detail, err
}

func openModeOf(o *Op) int {
	switch o.Kind {
	case opCreate:
		return unix.O_CREAT | o.Flags
	case opAppend:
		return unix.O_WRONLY | unix.O_APPEND
	case opOpenTrunc:
		return unix.O_WRONLY | unix.O_TRUNC
	case opRead:
		return unix.O_RDONLY
	case opWrite, opFallocate:
		return unix.O_WRONLY
	}
	return unix.O_RDWR
}

// open never waits (for the other end of a fifo) and never follows.
func open(p string, flags int, mode uint32) (int, error) {
	return unix.Open(p, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
}

// onFile does the operation on its open file.
func onFile(fd int, o *Op, p string) (string, error) {
	switch o.Kind {
	case opCreate, opWrite:
		return pwrite(fd, pattern(o.Tag, int(o.Len)), o.Off)
	case opAppend:
		n, err := unix.Write(fd, pattern(o.Tag, int(o.Len)))
		return fmt.Sprintf("n=%d", n), err
	case opRead:
		return content(fd)
	case opFallocate:
		return "", unix.Fallocate(fd, uint32(o.Flags), o.Off, o.Len)
	case opMmap:
		return mmapWrite(fd, o)
	case opGone:
		return gone(fd, o, p)
	}
	return "", nil
}

func pwrite(fd int, b []byte, off int64) (string, error) {
	n, err := unix.Pwrite(fd, b, off)
	return fmt.Sprintf("n=%d", n), err
}

// content is the size and the hash of a file's bytes.
func content(fd int) (string, error) {
	h := sha256.New()
	buf := make([]byte, 64<<10)
	var off int64
	for {
		n, err := unix.Pread(fd, buf, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "pread", err
		}
		if n == 0 {
			return fmt.Sprintf("%d bytes %x", off, h.Sum(nil)[:6]), nil
		}
		h.Write(buf[:n])
		off += int64(n)
	}
}

// mmapWrite changes the file through a shared mapping, as far as it goes. A server
// that is killed meanwhile makes the access a fault.
func mmapWrite(fd int, o *Op) (text string, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			text, err = "fault", unix.EFAULT
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "fstat", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
		return "nothing to map", nil
	}
	if _, err := unix.Fgetxattr(fd, capability.Name, nil); err == nil {
		return mapsCapability, nil
	}
	m, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "mmap", err
	}
	if o.Off < st.Size {
		copy(m[o.Off:], pattern(o.Tag, int(o.Len)))
	}
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		return "msync", err
	}
	text, err = content(fd) // write(2) and mappings are to agree at once
	if merr := unix.Munmap(m); err == nil {
		err = merr
	}
	return text, err
}

// gone goes on using a file that has no name any more.
func gone(fd int, o *Op, p string) (string, error) {
	if err := unix.Unlink(p); err != nil {
		return "unlink", err
	}
	text, err := pwrite(fd, pattern(o.Tag, int(o.Len)), o.Off)
	if err != nil {
		return text, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "fstat", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG { // others stay in their lower layer: see Avoided
		if err := unix.Fchmod(fd, 0o640); err != nil {
			return "fchmod", err
		}
	}
	err = unix.Fstat(fd, &st)
	text += " " + statText(&st, err)
	if err != nil {
		return text, err
	}
	c, err := content(fd)
	return text + " " + c, err
}

func (s *Side) copyRange(o *Op) (string, error) {
	in, err := open(s.path(o.Path), unix.O_RDONLY, 0)
	if err != nil {
		return "open source", err
	}
	defer unix.Close(in)
	out, err := open(s.path(o.To), unix.O_WRONLY, 0)
	if err != nil {
		return "open target", err
	}
	defer unix.Close(out)
	from, to := o.Off, o.Off/2
	n, err := unix.CopyFileRange(in, &from, out, &to, int(o.Len), 0)
	return fmt.Sprintf("n=%d", n), err
}

// tmpfile makes a file without a name, then gives it one.
func (s *Side) tmpfile(o *Op) (string, error) {
	fd, err := unix.Open(s.path(o.Path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, o.Mode)
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	if text, err := pwrite(fd, pattern(o.Tag, int(o.Len)), 0); err != nil {
		return text, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	text := statText(&st, err)
	if o.To == "" || err != nil {
		return text, err
	}
	return text, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, s.path(o.To), unix.AT_SYMLINK_FOLLOW)
}
