package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Env in the environment makes the process a keeper. Its value is the descriptor
// of a socket that the first server gets, as descriptor 3.
const Env = "_PLYFS_KEEPER"

// A server that dies crashes times within the period isn't started again.
const (
	crashes = 5
	period  = time.Minute
)

// What the keeper knows of package fusefs' record of requests, which it doesn't
// import: where the count of those that were begun lies, and the places of those in
// hand; and what a death weighs against those. A test of cmd/plyfs compares.
const (
	FlightTaken = 8
	FlightSeats = 64
	SeatCount   = 128

	WeightCrash  = 4
	WeightKilled = 1
)

// hangEnv is how many seconds requests may wait while none is begun.
const hangEnv = "PLYFS_HANG"

// grace is how long a server that is told to say what it does may take for it.
const grace = 5 * time.Second

func init() {
	if fd := os.Getenv(Env); fd != "" {
		os.Exit(run(fd))
	}
}

// held is a descriptor with its name.
type held struct {
	name string
	fd   int
}

// keeper is the process.
type keeper struct {
	held   []held
	ready  bool
	dev    string
	listen int // where orders come in, -1: nowhere
	exe    string
	env    []string
	hang   time.Duration

	pid   atomic.Int64 // of the server
	pidfd int
	sock  int // to the server

	begun uint64      // requests, when the server was started
	died  []time.Time // of its own doing

	waiting time.Time // since when requests wait and none is begun
	taken   uint64    // at the last look
	worked  uint64    // so is this
}

// run is the keeper. It returns the exit code.
func run(fdText string) int {
	runtime.GOMAXPROCS(1)
	var first int
	if _, err := fmt.Sscan(fdText, &first); err != nil {
		return 1
	}
	unix.CloseOnExec(first)
	k := &keeper{listen: -1, sock: -1, exe: "/proc/self/exe", hang: time.Minute}
	if n, err := time.ParseDuration(os.Getenv(hangEnv) + "s"); err == nil && n > 0 {
		k.hang = n
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, Env+"=") {
			k.env = append(k.env, e)
		}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	go func() {
		for s := range signals { // to those who know what to do
			_ = syscall.Kill(int(k.pid.Load()), s.(syscall.Signal))
		}
	}()
	if err := k.start(first, "_PLYFS_SERVE_FD=3"); err != nil {
		fmt.Fprintf(os.Stderr, "plyfs: cannot start the server: %v\n", err)
		return 1
	}
	unix.Close(first)
	CloseInherited()
	// A failpoint is for the first server.
	for i, e := range k.env {
		if strings.HasPrefix(e, "PLYFS_FAIL=") {
			k.env = append(k.env[:i:i], k.env[i+1:]...)
			break
		}
	}
	return k.loop()
}

// start starts a server; first is a socket for it, or -1.
func (k *keeper) start(first int, env ...string) error {
	p, err := k.spawn(k.exe, first, env...)
	if err != nil {
		return err
	}
	k.adopt(p)
	return nil
}

// linkFrom is the lowest number that the link to the keeper may have in a server:
// not one that the caller of plyfs is likely to have given to something of its own.
const linkFrom = 32

// process is a server that was started.
type process struct{ pid, pidfd, sock int }

func (k *keeper) spawn(exe string, first int, env ...string) (p process, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	defer unix.Close(pair[1])
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	defer unix.Close(null)
	if first < 0 {
		first = null
	}
	theirs, err := unix.FcntlInt(uintptr(pair[1]), unix.F_DUPFD, linkFrom)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	defer unix.Close(theirs)
	attr := &syscall.ProcAttr{
		Env:   append(k.env[:len(k.env):len(k.env)], append(env, fmt.Sprintf("%s=%d", serverEnv, theirs))...),
		Files: []uintptr{0, 1, 2, uintptr(first)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if k.ready {
		attr.Files[2] = uintptr(k.get("log", null))
	}
	pid, err := syscall.ForkExec(exe, append([]string{"plyfs"}, os.Args[1:]...), attr)
	if err != nil {
		unix.Close(pair[0])
		return p, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		unix.Close(pair[0])
		return p, fmt.Errorf("pidfd_open (Linux 5.3): %w", err)
	}
	return process{pid, pidfd, pair[0]}, nil
}

// adopt makes a process the server.
func (k *keeper) adopt(p process) {
	k.pid.Store(int64(p.pid))
	k.pidfd, k.sock = p.pidfd, p.sock
	k.begun = k.count()
	k.waiting = time.Time{}
}

func (k *keeper) get(name string, none int) int {
	for _, h := range k.held {
		if h.name == name {
			return h.fd
		}
	}
	return none
}

// count is how many requests servers have begun.
func (k *keeper) count() uint64 {
	var p [8]byte
	n, err := unix.Pread(k.get("flight", -1), p[:], FlightTaken)
	if err != nil || n != 8 {
		return 0
	}
	var v uint64
	for i := range p {
		v |= uint64(p[i]) << (8 * i)
	}
	return v
}

// loop waits for what happens, until the mount is over.
func (k *keeper) loop() int {
	for {
		p := []unix.PollFd{
			{Fd: int32(k.sock), Events: unix.POLLIN},
			{Fd: int32(k.pidfd), Events: unix.POLLIN},
			{Fd: int32(k.listen), Events: unix.POLLIN},
		}
		timeout := -1
		if k.ready {
			timeout = int(k.hang/4/time.Millisecond) + 1
		}
		n, err := unix.Poll(p, timeout)
		if err == unix.EINTR {
			continue
		}
		switch {
		case err != nil:
			return 1
		case n == 0:
			k.look()
		case p[0].Revents != 0 && k.sock >= 0:
			if k.hear() {
				return 0
			}
		case p[1].Revents != 0:
			if code, over := k.ended(); over {
				return code
			}
		case p[2].Revents != 0:
			k.order()
		}
	}
}

// hear takes a message of the server. It answers true when the mount is over.
func (k *keeper) hear() (over bool) {
	word, text, fd, err := receive(k.sock)
	if err != nil {
		unix.Close(k.sock)
		k.sock = -1
		return false
	}
	switch word {
	case sayKeep:
		k.held = append(k.held, held{text, fd})
	case sayReady:
		if !k.ready {
			k.settle(text)
		}
	case sayBye:
		return true
	}
	return false
}

// settle is done when the mount is there: nothing of the caller's is needed any
// more.
func (k *keeper) settle(dev string) {
	k.ready, k.dev = true, dev
	k.begun = k.count()
	_ = os.Chdir("/")
	if null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup3(null, fd, 0)
		}
		unix.Close(null)
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	if unix.Bind(sock, listenName(dev)) != nil || unix.Listen(sock, 4) != nil {
		unix.Close(sock)
		return
	}
	k.listen = sock
}

// ended is called when the server has ended.
func (k *keeper) ended() (code int, over bool) {
	// What it said last may still be there.
	for k.sock >= 0 {
		p := []unix.PollFd{{Fd: int32(k.sock), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 0); n <= 0 || err != nil {
			break
		}
		if k.hear() {
			return 0, true
		}
	}
	status := k.reap()
	if !k.ready {
		if status.Exited() {
			return status.ExitStatus(), true
		}
		return 128 + int(status.Signal()), true
	}
	weight := uint64(WeightCrash)
	if status.Signaled() && status.Signal() == syscall.SIGKILL && k.count() != k.begun {
		weight = WeightKilled // from outside, and it had been at work
	} else if k.crashed() {
		k.abort()
		return 1, true
	}
	for {
		why := k.restart(weight)
		if why == nil {
			return 0, false
		}
		k.say("cannot start another server: " + why.Error())
		if k.gone() || k.crashed() {
			k.abort()
			return 1, true
		}
	}
}

// reap takes the server's status.
func (k *keeper) reap() (status syscall.WaitStatus) {
	for {
		_, err := syscall.Wait4(int(k.pid.Load()), &status, 0, nil)
		if err != syscall.EINTR {
			break
		}
	}
	unix.Close(k.pidfd)
	if k.sock >= 0 {
		unix.Close(k.sock)
	}
	k.sock, k.pidfd = -1, -1
	return status
}

// crashed notes a death, and says whether it was one too many.
func (k *keeper) crashed() bool {
	now := time.Now()
	k.died = append(k.died, now)
	if len(k.died) < crashes {
		return false
	}
	k.died = k.died[len(k.died)-crashes:]
	return now.Sub(k.died[0]) < period
}

// restart has another server go on.
func (k *keeper) restart(weight uint64) error {
	p, err := k.spawn(k.exe, -1)
	if err != nil {
		return err
	}
	k.adopt(p)
	if err := k.hand(p, ""); err != nil {
		_ = unix.PidfdSendSignal(p.pidfd, syscall.SIGKILL, nil, 0)
		k.reap()
		return err
	}
	return send(p.sock, sayGo, fmt.Sprint(weight), -1)
}

// hand gives a new server what there is, and asks whether it can go on.
func (k *keeper) hand(p process, alive string) error {
	limit := unix.Timeval{Sec: 30}
	_ = unix.SetsockoptTimeval(p.sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	for _, h := range k.held {
		if err := send(p.sock, sayFD, h.name, h.fd); err != nil {
			return err
		}
	}
	if err := send(p.sock, sayOver, alive, -1); err != nil {
		return err
	}
	word, text, _, err := receive(p.sock)
	switch {
	case err != nil:
		return fmt.Errorf("it said nothing: %w", err)
	case word != sayAble:
		return fmt.Errorf("%s", text)
	}
	return nil
}

// say writes a line to the log.
func (k *keeper) say(text string) {
	if fd := k.get("log", -1); fd >= 0 {
		_, _ = unix.Write(fd, []byte(time.Now().Format("2006/01/02 15:04:05")+" plyfs keeper: "+text+"\n"))
	}
}
