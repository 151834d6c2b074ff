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
	if text := os.Getenv(Env); text != "" {
		if fd, ok := strings.CutPrefix(text, manyWord); ok {
			os.Exit(runMany(fd))
		}
		os.Exit(run(text))
	}
}

// held is a descriptor with its name.
type held struct {
	name string
	fd   int
}

// keeper is what keeps one server going.
type keeper struct {
	many  bool   // it has many mounts, and the process other servers
	id    string // what the names of its descriptors begin with in the store
	args  []string
	store *store

	held   []held
	mounts []mount // that are to be kept
	ready  bool
	listen int // where orders come in, -1: nowhere
	exe    string
	env    []string
	hang   time.Duration

	pid      atomic.Int64 // of the server
	pidfd    int
	sock     int  // to the server
	replaced bool // the server is killed for another one of ours to go on

	begun uint64      // requests, when the server was started
	died  []time.Time // of its own doing

	idleKills int    // of servers in a row that hadn't begun a request
	lastBegun uint64 // requests, at the first of them
}

// mount is a mount that is to be kept.
type mount struct {
	prefix   string // of its descriptors' names
	dev, dir string

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
	k := &keeper{listen: -1, sock: -1, exe: "/proc/self/exe", hang: hangTime(), args: append([]string{"plyfs"}, os.Args[1:]...)}
	k.env = envFor()
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
	k.env = withoutFail(k.env)
	return k.loop()
}

// hangTime is how long requests may wait while none is begun.
func hangTime() time.Duration {
	if n, err := time.ParseDuration(os.Getenv(hangEnv) + "s"); err == nil && n > 0 {
		return n
	}
	return time.Minute
}

// envFor is the environment of servers: what is not for the keeper alone.
func envFor() (env []string) {
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case Env, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
		default:
			env = append(env, e)
		}
	}
	return env
}

// withoutFail is an environment without the failpoint that is for the first server.
func withoutFail(env []string) []string {
	for i, e := range env {
		if strings.HasPrefix(e, "PLYFS_FAIL=") {
			return append(env[:i:i], env[i+1:]...)
		}
	}
	return env
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
func (k *keeper) count() (sum uint64) {
	for i := range k.mounts {
		sum += k.countOf(&k.mounts[i])
	}
	return sum
}

// countOf is count for one mount.
func (k *keeper) countOf(m *mount) uint64 {
	var p [8]byte
	n, err := unix.Pread(k.get(m.prefix+"flight", -1), p[:], FlightTaken)
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
		k.put(text, fd)
	case sayReady:
		prefix, rest, _ := strings.Cut(text, "\x00")
		dev, dir, _ := strings.Cut(rest, "\x00")
		m := mount{prefix: prefix, dev: dev, dir: dir}
		switch {
		case k.many:
			k.keepMount(m)
		case !k.ready:
			k.settle(m)
		}
	case sayDrop:
		k.drop(text)
		_ = send(k.sock, sayDrop, "", -1)
	case sayBye:
		return true
	}
	return false
}

// settle is done when the mount is there: nothing of the caller's is needed any
// more.
func (k *keeper) settle(m mount) {
	k.ready, k.mounts = true, []mount{m}
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
	if unix.Bind(sock, listenName(m.dev)) != nil || unix.Listen(sock, 4) != nil {
		unix.Close(sock)
		return
	}
	k.listen = sock
}

// say writes a line to the log.
func (k *keeper) say(text string) {
	fd := k.get("log", -1)
	if k.many {
		fd = 2
	}
	if fd >= 0 {
		_, _ = unix.Write(fd, []byte(time.Now().Format("2006/01/02 15:04:05")+" plyfs keeper: "+text+"\n"))
	}
}
