package container

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// message is what the processes say to each other, one packet each. Which
// fields count depends on who says it when: doc.go has the picture.
type message struct {
	Pid     int    // stage: init is started
	Filter  []byte // monitor to init: the seccomp program
	Failure *failure
	Warning string
	What    string // of the descriptors that come along, or a word (ready, console.go)
	Code    int    // a signal, or an exit code
	Index   []int  // stage to init: which mounts they are
}

// failure is an error that crosses a process.
type failure struct {
	Code int // the exit code of run: 125, 126 or 127
	Text string
}

func (f *failure) Error() string { return f.Text }

// maxMessage is larger than any message of ours.
const (
	maxMessage = 256 << 10
	maxFDs     = 200 // SCM_MAX_FD is 253
)

// peer is one end of a socket between two processes.
type peer struct{ f *os.File }

// newPeers makes both ends.
func newPeers() (a, b peer, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, b, fmt.Errorf("socketpair: %w", err)
	}
	return peer{os.NewFile(uintptr(pair[0]), "peer")}, peer{os.NewFile(uintptr(pair[1]), "peer")}, nil
}

// inherited is the end that was given as a descriptor.
func inherited(fd int) peer {
	unix.CloseOnExec(fd)
	return peer{os.NewFile(uintptr(fd), "peer")}
}

func (p peer) close() {
	if p.f != nil {
		p.f.Close()
	}
}

func (p peer) send(m message, fds ...int) error {
	text := pack(m.packed)
	if len(text) > maxMessage || len(fds) > maxFDs {
		return errors.New("message too long")
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return p.write(text, oob...)
}

// write sends what isn't a message.
func (p peer) write(text []byte, oob ...byte) error {
	for {
		err := unix.Sendmsg(int(p.f.Fd()), text, oob, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// await waits for a packet and says how long it is; io.EOF says that the other end is
// gone. Room for the longest would be a page fault for each page.
func (p peer) await() (int, error) {
	for {
		size, _, err := unix.Recvfrom(int(p.f.Fd()), nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECONNRESET), err == nil && size == 0:
			return 0, io.EOF
		default:
			return min(size, maxMessage), err
		}
	}
}

// read receives what isn't a message.
func (p peer) read() ([]byte, error) {
	size, err := p.await()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	for {
		n, _, err := unix.Recvfrom(int(p.f.Fd()), b, 0)
		if !errors.Is(err, unix.EINTR) {
			return b[:max(n, 0)], err
		}
	}
}

// receive waits for a message; io.EOF says that the other end is gone.
func (p peer) receive() (m message, fds []int, err error) {
	size, err := p.await()
	if err != nil {
		return m, nil, err
	}
	buf := make([]byte, size)
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	var n, on int
	for {
		n, on, _, _, err = unix.Recvmsg(int(p.f.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ECONNRESET) || err == nil && n == 0 {
		return m, nil, io.EOF
	}
	if err != nil {
		return m, nil, err
	}
	if on > 0 {
		all, err := unix.ParseSocketControlMessage(oob[:on])
		if err != nil {
			return m, nil, err
		}
		for _, c := range all {
			some, err := unix.ParseUnixRights(&c)
			if err != nil {
				return m, nil, err
			}
			fds = append(fds, some...)
		}
	}
	return m, fds, unpack(buf[:n], m.packed)
}
