package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netHelper is the process that connects a container's network: it has a
// socket or a tap device in there, and ends with the namespace. nil is none.
type netHelper struct {
	name string
	proc process
	exit *os.File // closed: slirp4netns ends
	cmd  *exec.Cmd
}

func (h *netHelper) describe() (string, process) {
	if h == nil {
		return "", process{}
	}
	return h.name, h.proc
}

// end ends the helper and waits for it.
func (h *netHelper) end() {
	if h == nil {
		return
	}
	if h.exit != nil {
		h.exit.Close()
	}
	_ = h.proc.signal(unix.SIGTERM)
	if h.cmd != nil {
		_ = h.cmd.Wait()
	}
}

// errNoNetHelper says how to get a network.
var errNoNetHelper = errors.New("neither pasta nor slirp4netns is installed (Debian: apt install passt, or slirp4netns)")

// connect gives the network of the process pid a way out; warning says that it
// has none, though one was wished for.
func connect(n *Net, dir string, pid int, ownUserNS bool) (h *netHelper, warning string, err error) {
	if n.Mode != NetUser {
		return nil, "", nil
	}
	tried := errNoNetHelper
	for _, t := range []struct {
		name string
		run  func(path string, n *Net, dir string, pid int, userNS bool) (*netHelper, error)
	}{{"pasta", runPasta}, {"slirp4netns", runSlirp}} {
		path, e := exec.LookPath(t.name)
		if e != nil {
			continue
		}
		if h, e = t.run(path, n, dir, pid, ownUserNS); e == nil {
			h.name = t.name
			return h, "", nil
		}
		if errors.Is(tried, errNoNetHelper) {
			tried = e
		} else {
			tried = fmt.Errorf("%w; %w", tried, e)
		}
	}
	if !errors.Is(tried, errNoNetHelper) && unix.Access(TunDevice, unix.R_OK|unix.W_OK) != nil {
		tried = fmt.Errorf("%w (they need %s, and it can't be opened: sudo modprobe tun; sudo chmod 666 %s)", tried, TunDevice, TunDevice)
	}
	if n.Optional {
		return nil, fmt.Sprintf("no network: %v; --net none says that this is as it should be", tried), nil
	}
	return nil, "", fmt.Errorf("network user: %w", tried)
}

// TunDevice is what the helpers make a network interface with.
const TunDevice = "/dev/net/tun"

// helperPatience is how long a helper may take to connect.
const helperPatience = 10 * time.Second

// runPasta starts pasta, which goes into the background when all works.
func runPasta(path string, n *Net, dir string, pid int, userNS bool) (*netHelper, error) {
	ns := "/proc/" + strconv.Itoa(pid) + "/ns/"
	pidFile := filepath.Join(dir, "pasta.pid")
	_ = os.Remove(pidFile)
	args := []string{"--config-net", "--quiet", "--no-map-gw", "--pid", pidFile, "--netns", ns + "net"}
	if userNS {
		args = append(args, "--userns", ns+"user")
	}
	args = append(args, "-T", "none", "-U", "none")
	for flag, proto := range map[string]string{"-t": "tcp", "-u": "udp"} {
		some := false
		for _, p := range n.Ports {
			if p.Proto != proto {
				continue
			}
			some = true
			spec := fmt.Sprintf("%d:%d", p.Host, p.Container)
			if p.HostIP != "" {
				spec = p.HostIP + "/" + spec
			}
			args = append(args, flag, spec)
		}
		if !some {
			args = append(args, flag, "none")
		}
	}
	if os.Geteuid() == 0 {
		args = append(args, "--runas", "0:0")
	}
	cmd := exec.Command(path, args...)
	cmd.WaitDelay = helperPatience
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pasta: %w: %s", err, lastLine(out))
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("pasta: %w", err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("pasta: %s: %w", pidFile, err)
	}
	return &netHelper{proc: identify(id)}, nil
}

// runSlirp starts slirp4netns and waits until it says that it is ready.
func runSlirp(path string, n *Net, dir string, pid int, userNS bool) (*netHelper, error) {
	ns := "/proc/" + strconv.Itoa(pid) + "/ns/"
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	exitEnd, exit, err := os.Pipe()
	if err != nil {
		readyEnd.Close()
		return nil, err
	}
	const api = "slirp.sock" // in there: its whole path may be too long for a socket
	_ = os.Remove(filepath.Join(dir, api))
	args := []string{"--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--exit-fd=4", "--netns-type=path"}
	if userNS {
		args = append(args, "--userns-path="+ns+"user")
	}
	if len(n.Ports) > 0 {
		args = append(args, "--api-socket="+api)
	}
	args = append(args, ns+"net", "tap0")
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{readyEnd, exitEnd}
	var said strings.Builder
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	readyEnd.Close()
	exitEnd.Close()
	if err != nil {
		exit.Close()
		return nil, fmt.Errorf("slirp4netns: %w", err)
	}
	h := &netHelper{proc: identify(cmd.Process.Pid), exit: exit, cmd: cmd}
	_ = ready.SetReadDeadline(time.Now().Add(helperPatience))
	if k, _ := ready.Read(make([]byte, 1)); k != 1 {
		h.end()
		return nil, fmt.Errorf("slirp4netns: %s", slirpSays(said.String()))
	}
	for _, p := range n.Ports {
		if err := slirpForward(dir, api, p); err != nil {
			h.end()
			return nil, fmt.Errorf("slirp4netns: port %d: %w", p.Host, err)
		}
	}
	return h, nil
}

// slirpSays is the line of its messages that has the reason: the first one that
// isn't about its device; what follows are its callers' names.
func slirpSays(text string) string {
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "tapfd=") {
			return strings.TrimSpace(line)
		}
	}
	return "ended without a word"
}

// slirpForward asks slirp4netns to listen for a port.
func slirpForward(dir, api string, p Port) error {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), api)
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", at, api)}); err != nil {
		return err
	}
	ip := p.HostIP
	if ip == "" {
		ip = "0.0.0.0"
	}
	_, err = fmt.Fprintf(f, `{"execute":"add_hostfwd","arguments":{"proto":%q,"host_addr":%q,"host_port":%d,"guest_port":%d}}`, p.Proto, ip, p.Host, p.Container)
	if err != nil {
		return err
	}
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	buf := make([]byte, 4096)
	n, err := f.Read(buf)
	if err != nil {
		return err
	}
	if answer := string(buf[:n]); strings.Contains(answer, `"error"`) {
		return errors.New(strings.TrimSpace(answer))
	}
	return nil
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
