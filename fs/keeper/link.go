package keeper

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// serverEnv names the descriptor of the socket to a server.
const serverEnv = "_PLYFS_KEEPER_FD"

// Link is a server's connection to its keeper.
type Link struct {
	sock int
	mu   sync.Mutex // held by whoever waits for an answer
}

// Connected is the link that this process was started with; nil when it has no
// keeper.
func Connected() *Link {
	text := os.Getenv(serverEnv)
	if text == "" {
		return nil
	}
	os.Unsetenv(serverEnv)
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return &Link{sock: fd}
}

// Keep gives the keeper a copy of a descriptor.
func (l *Link) Keep(name string, fd int) error { return send(l.sock, sayKeep, name, fd) }

// Ready says that a mount is to be kept from now on: the one whose descriptors
// have names with this prefix. dev is its device number (major:minor).
func (l *Link) Ready(prefix, dev, dir string) error {
	return send(l.sock, sayReady, prefix+"\x00"+dev+"\x00"+dir, -1)
}

// Drop has the keeper let go of a mount that is gone, and returns when it has.
func (l *Link) Drop(prefix string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(l.sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	if send(l.sock, sayDrop, prefix, -1) == nil {
		_, _, _, _ = receive(l.sock)
	}
}

// Bye says that the server ends, and the mount with it.
func (l *Link) Bye() {
	if l != nil {
		_ = send(l.sock, sayBye, "", -1)
	}
}

// Take takes what the server before has left. alive says that it is at work yet,
// and is to be replaced.
func (l *Link) Take() (held map[string]int, alive bool, err error) {
	held = map[string]int{}
	for {
		word, text, fd, err := receive(l.sock)
		if err != nil {
			return held, false, fmt.Errorf("the keeper: %w", err)
		}
		switch word {
		case sayOver:
			return held, text == stillAlive, nil
		case sayFD:
			held[text] = fd
		}
	}
}

// Unable says why this program can't go on with the mount.
func (l *Link) Unable(why error) { _ = send(l.sock, sayUnable, why.Error(), -1) }

// Able says that it can, and waits until the server before is gone. weight is
// what its death says against the requests that it was handling.
func (l *Link) Able() (weight uint64, err error) {
	if err := send(l.sock, sayAble, "", -1); err != nil {
		return 0, err
	}
	word, text, _, err := receive(l.sock)
	if err == nil && word != sayGo {
		err = fmt.Errorf("it said %q", word)
	}
	if err != nil {
		return 0, fmt.Errorf("the keeper: %w", err)
	}
	return strconv.ParseUint(text, 10, 64)
}
