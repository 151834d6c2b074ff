package mountd

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/keeper"
)

// Verbs are what the program is called with to be one of the processes here.
type Verbs struct {
	Program string // its name
	Serve   string // a server
	Keep    string // the keeper of servers
}

// ordersName is what the socket unit calls its socket.
const ordersName = "orders"

// KeeperSocket is where a daemon's keeper takes orders.
func KeeperSocket(state string) string { return filepath.Join(state, "s", "keeper") }

// ServeKept has the keeper on this socket start a server for the listener that this
// process was given, and ends. The keeper is started where there is none. If that
// can't be, this process is the server, without one.
func ServeKept(socket string, v Verbs, logger *log.Logger) error {
	err := order(socket, v, func(c int) error {
		exe, err := os.Open("/proc/self/exe")
		if err != nil {
			return err
		}
		defer exe.Close()
		return keeper.Order(c, []string{v.Program, v.Serve}, listenFD, int(exe.Fd()))
	})
	if err == nil {
		return nil
	}
	logger.Printf("mounts have no keeper, and end with their server: %v", err)
	return Serve(logger)
}

// Upgrade has the keeper on this socket hand all mounts to this program.
func Upgrade(socket string) error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	c, err := dialKeeper(socket)
	if err != nil {
		return fmt.Errorf("no keeper answers on %s: %w: there are no mounts that have one", socket, err)
	}
	defer unix.Close(c)
	return keeper.UpgradeAll(c, int(exe.Fd()))
}

// order gives the keeper an order, and starts it before if there is none. One that
// is ending may still take a connection.
func order(socket string, v Verbs, give func(c int) error) (err error) {
	for range 10 {
		var c int
		c, err = dialKeeper(socket)
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
			if c, err = startKeeper(socket, v); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		err = give(c)
		unix.Close(c)
		if !keeper.IsGone(err) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// dialKeeper connects to the keeper. The path may be longer than an address can be.
func dialKeeper(socket string) (int, error) {
	f, err := os.OpenFile(socket, unix.O_PATH, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.Timeval{Sec: 30}
	_ = unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	if err := unix.Connect(c, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", f.Fd())}); err != nil {
		unix.Close(c)
		return -1, err
	}
	return c, nil
}

// listenKeeper makes the socket of a keeper.
func listenKeeper(socket string) (*os.File, error) {
	dir, err := os.OpenFile(filepath.Dir(socket), unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket))
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: name, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

// startKeeper starts one that outlives us, and connects to it.
func startKeeper(socket string, v Verbs) (c int, err error) {
	l, err := listenKeeper(socket)
	if err != nil {
		return -1, fmt.Errorf("socket of the keeper %s: %w", socket, err)
	}
	defer l.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{v.Program, v.Keep}
	cmd.Env = append(os.Environ(), keeper.Env+"="+keeper.Many(3, socket))
	cmd.ExtraFiles = []*os.File{l}
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return -1, fmt.Errorf("cannot start the keeper: %w", err)
	}
	_ = cmd.Process.Release()
	return dialKeeper(socket)
}

// Keep makes this process the keeper of servers, as a unit of systemd. It returns
// when it can't.
func Keep(socket string, v Verbs) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return err
	}
	fd, err := activated()
	if err != nil {
		return err
	}
	if fd < 0 {
		if c, err := dialKeeper(socket); err == nil {
			unix.Close(c)
			return fmt.Errorf("a keeper answers on %s already: it ends with its mounts", socket)
		}
		l, err := listenKeeper(socket)
		if err != nil {
			return fmt.Errorf("socket of the keeper %s: %w", socket, err)
		}
		if fd, err = unix.FcntlInt(l.Fd(), unix.F_DUPFD, 0); err != nil {
			return err
		}
	}
	// Again, for what is in memory is the daemon then, which this is not.
	return unix.Exec("/proc/self/exe", []string{v.Program, v.Keep}, append(os.Environ(), keeper.Env+"="+keeper.Many(fd, socket)))
}

// activated is a copy of the socket that systemd listens on for us, -1 when there is
// none. The rest of what it gives is for fs/keeper.
func activated() (int, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return -1, nil
	}
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if name == ordersName {
			return unix.FcntlInt(uintptr(3+i), unix.F_DUPFD, 0)
		}
	}
	return -1, nil
}
