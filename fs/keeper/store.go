package keeper

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// store is systemd's store of descriptors (FileDescriptorStoreMax=), which gives
// them to the next process of the unit. A nil one keeps nothing.
type store struct {
	sock int
	addr unix.Sockaddr
}

// newStore is the store of the unit that this process is, nil when it is none.
func newStore() *store {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &store{sock, &unix.SockaddrUnix{Name: path}} // @ is an abstract one for x/sys as well
}

func (s *store) tell(text string, fd int) {
	if s == nil {
		return
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	for unix.Sendmsg(s.sock, []byte(text), oob, s.addr, unix.MSG_NOSIGNAL) == unix.EINTR {
	}
}

// ready says that the unit has started.
func (s *store) ready() { s.tell("READY=1", -1) }

// add has a copy of a descriptor kept. It isn't to be watched for its end: whoever
// watches /dev/fuse is woken by each request.
func (s *store) add(name string, fd int) {
	if fd >= 0 {
		s.tell("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd)
	}
}

// remove has the copy closed.
func (s *store) remove(name string) { s.tell("FDSTOREREMOVE=1\nFDNAME="+name, -1) }

// restore gives the keepers of servers that the process before has left.
func (s *store) restore() []*keeper {
	if s == nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	wards := map[string]*keeper{}
	for i := range n {
		fd := 3 + i
		unix.CloseOnExec(fd)
		id, name := "", ""
		if i < len(names) {
			id, name, _ = strings.Cut(names[i], ".")
		}
		if _, err := strconv.Atoi(id); err != nil || name == "" {
			unix.Close(fd)
			continue
		}
		k := wards[id]
		if k == nil {
			k = newWard(s, id+".")
			wards[id] = k
		}
		k.held = append(k.held, held{name, fd})
	}
	var all []*keeper
	for _, k := range wards {
		if k.recall() {
			all = append(all, k)
		} else {
			k.forget("")
		}
	}
	return all
}

// recall finds out of its descriptors what a keeper was doing. It answers false
// when nothing can be done with them.
func (k *keeper) recall() bool {
	exe := k.get(exeName, -1)
	k.exe, k.args = fdPath(exe), strings.Split(k.noted(argsName), "\x00")
	for _, h := range k.held {
		if strings.HasSuffix(h.name, "/"+readyName) {
			prefix, rest, _ := strings.Cut(k.noted(h.name), "\x00")
			dev, dir, _ := strings.Cut(rest, "\x00")
			k.mounts = append(k.mounts, mount{prefix: prefix, dev: dev, dir: dir})
		}
	}
	k.sock, k.pidfd = k.take(sockName), k.take(pidfdName)
	k.pid.Store(int64(pidOf(k.pidfd)))
	return exe >= 0 && len(k.args) > 0 && k.pidfd >= 0 && k.get(listenerName, -1) >= 0
}

// take takes a descriptor out of what is held; it stays in the store.
func (k *keeper) take(name string) int {
	fd := k.get(name, -1)
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.name == name })
	return fd
}

// noted is a text that a keeper before has kept.
func (k *keeper) noted(name string) string {
	buf := make([]byte, longest)
	n, err := unix.Pread(k.get(name, -1), buf, 0)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// pidOf is the number of a pidfd's process, 0 when it has ended.
func pidOf(pidfd int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0
	}
	_, text2, _ := strings.Cut(string(text), "\nPid:")
	pid, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(text2, "\n", 2)[0]))
	return max(pid, 0)
}
