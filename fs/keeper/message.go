package keeper

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The words that a message begins with.
const (
	sayKeep    = "keep"
	sayReady   = "ready"
	sayDrop    = "drop"
	sayServe   = "serve"
	sayExe     = "exe"
	sayBye     = "bye"
	sayFD      = "fd"
	sayOver    = "over"
	sayAble    = "able"
	sayUnable  = "unable"
	sayGo      = "go"
	sayUpgrade = "upgrade"
)

// stillAlive with sayOver says that the server before is at work yet.
const stillAlive = "alive"

// longest is the size of the longest message.
const longest = 4096

var errClosed = errors.New("the other end has closed the connection")

// send sends a word, a text and a descriptor (-1 for none).
func send(sock int, word, text string, fd int) error {
	msg := []byte(word)
	if text != "" {
		msg = append(append(msg, ' '), text[:min(len(text), longest-16)]...)
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	for {
		err := unix.Sendmsg(sock, msg, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// receive takes a message; fd is -1 when there is none with it.
func receive(sock int) (word, text string, fd int, err error) {
	buf := make([]byte, longest)
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	fd = -1
	if err != nil {
		return "", "", fd, err
	}
	if n == 0 {
		return "", "", fd, errClosed
	}
	if msgs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(msgs) > 0 {
		if fds, err := unix.ParseUnixRights(&msgs[0]); err == nil && len(fds) > 0 {
			fd = fds[0]
		}
	}
	word, text, _ = strings.Cut(string(buf[:n]), " ")
	return word, text, fd, nil
}

// listenName is the name of the socket where the keeper of a mount takes orders.
func listenName(dev string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "@plyfs-keeper-" + dev}
}

// ErrNoKeeper says that a mount has no keeper.
var ErrNoKeeper = errors.New("it has no keeper here (mounted with keeper=off or -f, by another program of plyfs, or in another network namespace): unmount it, and mount again")

// Upgrade has the keeper of the mount with this device number (major:minor) go
// on with the program exe. The server that runs stays when that one can't.
func Upgrade(dev string, exe int) error {
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	if err := unix.Connect(sock, listenName(dev)); err != nil {
		return ErrNoKeeper
	}
	return upgrade(sock, exe)
}

// upgrade gives the order on a connection.
func upgrade(sock, exe int) error {
	if err := send(sock, sayUpgrade, "", exe); err != nil {
		return err
	}
	word, text, _, err := receive(sock)
	switch {
	case err != nil:
		return fmt.Errorf("the keeper doesn't answer: %w", err)
	case word != sayAble:
		return errors.New(text)
	}
	return nil
}
