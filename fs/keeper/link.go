package keeper

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// serverEnv names the descriptor of the socket to a server.
const serverEnv = "_PLYFS_KEEPER_FD"

// Link is a server's connection to its keeper.
type Link struct{ sock int }

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

// Ready says that the mount with this device number is to be kept from now on.
func (l *Link) Ready(dev string) error { return send(l.sock, sayReady, dev, -1) }

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
