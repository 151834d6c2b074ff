package writelog

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// serverEnv makes a program that calls ServeIfAsked the server.
const serverEnv = "_PLYFS_WRITELOG"

// server has the disk's content and its log.
type server struct {
	fd  int
	now []byte
	log *os.File
}

// ServeIfAsked is the server process when it is to be one, and then does not
// return. TestMain calls it first.
func ServeIfAsked() {
	if os.Getenv(serverEnv) == "" {
		return
	}
	now, err := io.ReadAll(os.NewFile(4, "image"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "writelog:", err)
		os.Exit(1)
	}
	s := &server{fd: 3, now: now, log: os.NewFile(5, "log")}
	s.serve()
	os.Exit(0)
}

const maxWrite = 1 << 20

// serve answers the kernel until the unmount.
func (s *server) serve() {
	buf := make([]byte, maxWrite+64<<10)
	for {
		n, err := unix.Read(s.fd, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN || err == unix.ENOENT:
			continue
		case err != nil || n < 40:
			return
		}
		le := binary.LittleEndian
		op, unique, node := le.Uint32(buf[4:]), le.Uint64(buf[8:]), le.Uint64(buf[16:])
		out, errno, answer := s.answer(op, node, buf[40:n])
		if !answer {
			continue
		}
		head := make([]byte, 16, 16+len(out))
		le.PutUint32(head, uint32(16+len(out)))
		le.PutUint32(head[4:], uint32(-int32(errno)))
		le.PutUint64(head[8:], unique)
		_, _ = unix.Write(s.fd, append(head, out...))
	}
}

// The requests that one file of fixed size needs.
const (
	opLookup, opForget, opGetattr, opSetattr = 1, 2, 3, 4
	opOpen, opRead, opWrite, opRelease       = 14, 15, 16, 18
	opFsync, opFlush, opInit                 = 20, 25, 26
	opInterrupt, opDestroy, opBatchForget    = 36, 38, 42
)

const fileNode = 2

func (s *server) answer(op uint32, node uint64, in []byte) (out []byte, errno unix.Errno, answer bool) {
	le := binary.LittleEndian
	switch op {
	case opForget, opBatchForget, opInterrupt:
		return nil, 0, false
	case opInit:
		out = make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[8:], 128<<10)
		le.PutUint32(out[12:], 1<<5|1<<22) // FUSE_BIG_WRITES, FUSE_MAX_PAGES
		le.PutUint32(out[20:], maxWrite)
		le.PutUint32(out[24:], 1)
		le.PutUint16(out[28:], maxWrite/4096)
	case opLookup:
		if string(in) != "disk\x00" {
			return nil, unix.ENOENT, true
		}
		out = make([]byte, 40, 128)
		le.PutUint64(out, fileNode)
		le.PutUint64(out[16:], 1<<30)
		le.PutUint64(out[24:], 1<<30)
		out = append(out, s.attr(fileNode)...)
	case opGetattr, opSetattr:
		out = append(le.AppendUint64(nil, 1<<30), make([]byte, 8)...)
		out = append(out, s.attr(node)...)
	case opOpen:
		out = make([]byte, 16)
		out[8] = 2 // FOPEN_KEEP_CACHE
	case opRead:
		size := uint64(len(s.now))
		off := min(le.Uint64(in[8:]), size)
		out = s.now[off:min(off+uint64(le.Uint32(in[16:])), size)]
	case opWrite:
		n := le.Uint32(in[16:])
		off := int64(le.Uint64(in[8:]))
		copy(s.now[off:], in[40:40+n])
		if errno = s.note(off, in[40:40+n]); errno != 0 {
			return nil, errno, true
		}
		out = append(le.AppendUint32(nil, n), 0, 0, 0, 0)
	case opFsync:
		errno = s.note(-1, nil)
	case opFlush, opRelease, opDestroy:
	default:
		errno = unix.ENOSYS
	}
	return out, errno, true
}

func (s *server) attr(node uint64) []byte {
	le, a := binary.LittleEndian, make([]byte, 88)
	mode, size := uint32(unix.S_IFREG|0o600), uint64(len(s.now))
	if node != fileNode {
		mode, size = unix.S_IFDIR|0o700, 0
	}
	le.PutUint64(a, node)
	le.PutUint64(a[8:], size)
	le.PutUint64(a[16:], size/512)
	le.PutUint32(a[60:], mode)
	le.PutUint32(a[64:], 1)
	le.PutUint32(a[80:], 4096)
	return a
}

// note adds to the log.
func (s *server) note(off int64, data []byte) unix.Errno {
	le := binary.LittleEndian
	head := le.AppendUint32(le.AppendUint64(nil, uint64(off)), uint32(len(data)))
	if _, err := s.log.Write(append(head, data...)); err != nil {
		return unix.EIO
	}
	return 0
}
