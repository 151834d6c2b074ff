package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// manyWord in Env makes the process a keeper of many servers; what follows it is the
// descriptor of a socket where orders come in, and the socket's path.
const manyWord = "many:"

// Many is the value of Env for that. A keeper that is no unit of systemd ends with
// its last server, and removes the socket.
func Many(fd int, path string) string { return fmt.Sprint(manyWord, fd, ":", path) }

// idle is how long a keeper that was started for a server waits for the first one.
const idle = time.Minute

// many is that process. Each server has a goroutine of its own.
type many struct {
	store *store
	path  string // of the socket

	mu    sync.Mutex
	wards map[*keeper]int // where each takes orders; protected by mu
	last  int             // protected by mu: servers are numbered
}

// runMany returns the exit code.
func runMany(text string) int {
	runtime.GOMAXPROCS(1)
	fdText, path, _ := strings.Cut(text, ":")
	var sock int
	if _, err := fmt.Sscan(fdText, &sock); err != nil {
		return 1
	}
	unix.CloseOnExec(sock)
	m := &many{store: newStore(), path: path, wards: map[*keeper]int{}}
	if m.store == nil {
		// The terminal's ^C is for who started us.
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	}
	_ = os.Chdir("/")
	for _, k := range m.store.restore() {
		m.adopt(k)
	}
	m.store.ready()
	for {
		p := []unix.PollFd{{Fd: int32(sock), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(idle/time.Millisecond))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1
		case n == 0:
			m.mu.Lock()
			m.leave()
			m.mu.Unlock()
		default:
			if c, _, err := unix.Accept4(sock, unix.SOCK_CLOEXEC); err == nil {
				m.order(c)
				unix.Close(c)
			}
		}
	}
}

// leave ends the process when it has nothing to keep. Precondition: m.mu is held;
// who has just asked for a server finds us gone, and asks another one.
func (m *many) leave() {
	if len(m.wards) == 0 && m.store == nil {
		_ = os.Remove(m.path)
		os.Exit(0)
	}
}

// order takes one from a connection.
func (m *many) order(c int) {
	if !mayOrder(c) {
		return
	}
	word, text, fd, err := receive(c)
	if err != nil {
		return
	}
	switch {
	case word == sayServe && fd >= 0:
		exeWord, _, exe, err := receive(c)
		if err != nil || exeWord != sayExe || exe < 0 {
			unix.Close(fd)
			err = errors.New("the order to serve has no program")
		} else {
			err = m.serve(strings.Split(text, "\x00"), fd, exe)
		}
		if err != nil {
			_ = send(c, sayUnable, err.Error(), -1)
			return
		}
		_ = send(c, sayAble, "", -1)
	case word == sayUpgrade && fd >= 0:
		if err := m.upgrade(fd); err != nil {
			_ = send(c, sayUnable, err.Error(), -1)
			return
		}
		_ = send(c, sayAble, "", -1)
	default:
		unix.Close(fd)
		_ = send(c, sayUnable, "the keeper doesn't know the order "+word, -1)
	}
}

// newWard makes the keeper of one server.
func newWard(s *store, id string) *keeper {
	return &keeper{many: true, id: id, store: s, listen: -1, sock: -1, pidfd: -1, ready: true, hang: hangTime(), env: envFor()}
}

// serve starts a server that listens, and keeps it. It takes the descriptors over.
func (m *many) serve(args []string, listener, exe int) error {
	m.mu.Lock()
	m.last++
	k := newWard(m.store, fmt.Sprintf("%d.", m.last))
	m.mu.Unlock()
	k.args, k.exe = args, fdPath(exe)
	k.put(listenerName, listener)
	k.put(exeName, exe)
	k.note(argsName, strings.Join(args, "\x00"))
	if err := k.start(listener, "_PLYFS_SERVE_FD=3"); err != nil {
		k.forget("")
		return fmt.Errorf("cannot start the server: %w", err)
	}
	k.env = withoutFail(k.env)
	m.run(k)
	return nil
}

// adopt goes on with a server that a keeper before has kept.
func (m *many) adopt(k *keeper) {
	var n int
	if _, err := fmt.Sscanf(k.id, "%d.", &n); err == nil {
		m.last = max(m.last, n)
	}
	k.env = withoutFail(k.env)
	m.run(k)
}

// run has a goroutine keep a server until that is over.
func (m *many) run(k *keeper) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		pair = [2]int{-1, -1} // no orders, then
	}
	k.listen = pair[0]
	m.mu.Lock()
	m.wards[k] = pair[1]
	m.mu.Unlock()
	go func() {
		k.loop()
		k.forget("") // whoever asks for the server finds that there is none
		if k.pidfd >= 0 {
			k.reap()
		}
		m.mu.Lock()
		delete(m.wards, k)
		m.leave()
		m.mu.Unlock()
		unix.Close(pair[0])
		unix.Close(pair[1])
	}()
}

// upgrade has another program serve what all servers do, one after the other.
func (m *many) upgrade(exe int) error {
	defer unix.Close(exe)
	m.mu.Lock()
	var wards []int
	for _, orders := range m.wards {
		if fd, err := unix.FcntlInt(uintptr(orders), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			wards = append(wards, fd)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, w := range wards {
		errs = append(errs, orderOne(w, exe))
		unix.Close(w)
	}
	return errors.Join(errs...)
}

// orderOne has one server upgraded. One that ends meanwhile needs no upgrade.
func orderOne(orders, exe int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	err = send(orders, sayOver, "", pair[1])
	unix.Close(pair[1])
	if err != nil {
		return nil
	}
	return upgrade(pair[0], exe)
}

// Order has a keeper of many servers start one, with this listening socket as
// descriptor 3. sock is a connection to the keeper.
func Order(sock int, args []string, listener, exe int) error {
	err := send(sock, sayServe, strings.Join(args, "\x00"), listener)
	if err == nil {
		err = send(sock, sayExe, "", exe)
	}
	if err != nil {
		return err
	}
	word, text, _, err := receive(sock)
	if err == nil && word != sayAble {
		err = errors.New(text)
	}
	return err
}

// UpgradeAll has a keeper of many servers hand what they do to the program exe.
func UpgradeAll(sock, exe int) error { return upgrade(sock, exe) }

// IsGone says that the other end of a connection has gone away without an answer.
func IsGone(err error) bool {
	return errors.Is(err, errClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
