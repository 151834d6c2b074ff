package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/keeper"
	"github.com/plyfs/plyfs/fs/layer"
)

// The background server. A Go program can't fork, so `plyfs mount` starts
// itself again, with the same arguments (so that ps shows what was asked for)
// and one end of a socket pair:
//
//	plyfs mount (parent)                 the same binary (child)
//	------------------------------       -----------------------------------
//	start child ----------------------->
//	order{options, mount point} ------->
//	                                     open layers, mount, serve; INIT is
//	                                     answered; stderr to /dev/null or log
//	              <--------------------- answer{} or answer{Err: "why not"}
//	statfs the mount: it answers
//	exit 0, or print Err and exit 1      serves until the mount is gone
//
// A child that dies before its answer closes the socket, and its last words
// are on the standard error that it shared with the parent till then. When the
// parent dies first, the answer can't be sent, and the child unmounts and ends.

// serveEnv names the descriptor of the socket to the child.
const serveEnv = "_PLYFS_SERVE_FD"

// order is what the child is to do. The options travel as text: the codec has
// both directions. Text is bytes here, because a path may hold any.
type order struct {
	Options    []byte
	MountPoint []byte
	Trace      bool
	Log        []byte
}

// answer is what became of it.
type answer struct{ Err []byte }

// daemonise has a child mount and serve r, and returns when the mount answers.
func daemonise(r *request) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot talk to a background server: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "parent")
	defer ours.Close()
	child := exec.Command(selfExe)
	child.Args = os.Args
	child.Env = append(os.Environ(), serveEnv+"=3")
	if !r.options.NoKeeper {
		// It starts the server, which finds our socket there.
		child.Args = append([]string{"plyfs-keeper"}, os.Args[1:]...)
		child.Env = append(os.Environ(), keeper.Env+"=3")
	}
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{theirs}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("cannot start the background server: %w", err)
	}
	send := json.NewEncoder(ours).Encode(order{[]byte(r.options.String()), []byte(r.mountPoint), r.trace, []byte(r.log)})
	var a answer
	if err := json.NewDecoder(ours).Decode(&a); err != nil {
		child.Process.Kill() // it may hang before its answer
		return fmt.Errorf("the background server ended before the mount was ready: %w", errors.Join(child.Wait(), send))
	}
	if len(a.Err) > 0 {
		child.Wait()
		return errors.New(string(a.Err))
	}
	return answers(r.mountPoint)
}

// selfExe is the running binary, also when its file was replaced.
const selfExe = "/proc/self/exe"

// patience is how long a fresh mount may take to answer its first question.
const patience = 30 * time.Second

// answers asks the new mount something. It is the parent who asks: a server
// that touches its own mount can block a thread that the Go runtime needs.
func answers(mountPoint string) error {
	done := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		done <- unix.Statfs(mountPoint, &st)
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the mount on %s does not work: statfs: %w", mountPoint, err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the mount on %s does not answer after %v; plyfs umount -l %s removes it", mountPoint, patience, mountPoint)
	}
}

// internalRole runs this process as a child that plyfs started, when it is
// one.
func internalRole() (bool, error) {
	link = keeper.Connected()
	if fd := os.Getenv(serveEnv); fd != "" {
		os.Unsetenv(serveEnv)
		return true, child(fd)
	}
	if link != nil {
		return true, takeOver()
	}
	if os.Getenv(probeEnv) != "" {
		return true, probeChild()
	}
	return false, nil
}

// child is the background server.
func child(fdText string) error {
	fd, err := strconv.Atoi(fdText)
	if err != nil {
		return fmt.Errorf("%s=%s is not a descriptor; this variable is for plyfs itself", serveEnv, fdText)
	}
	unix.CloseOnExec(fd)
	h := &daemonHost{parent: os.NewFile(uintptr(fd), "parent")}
	var ord order
	if err := json.NewDecoder(h.parent).Decode(&ord); err != nil {
		return fmt.Errorf("no order on descriptor %d: %w; %s is for plyfs itself", fd, err, serveEnv)
	}
	o, _, err := layer.Parse([]string{string(ord.Options)}, true)
	if err == nil {
		err = serve(&request{options: o, mountPoint: string(ord.MountPoint), trace: ord.Trace, log: string(ord.Log)}, h)
	}
	if err != nil && h.parent != nil {
		json.NewEncoder(h.parent).Encode(answer{[]byte(err.Error())})
		os.Exit(1) // the parent prints it
	}
	return err
}

// host is where a server runs: what it does when it is ready, and where its
// messages go.
type host interface {
	// logFile is where messages go before and after ready.
	logFile(name string) (io.Writer, error)
	// layersOpen is called when no name of the caller's is needed any more,
	// save that of the mount point.
	layersOpen()
	// ready is called when the mount answers. An error means that nobody
	// wants it any more.
	ready() error
}

// foregroundHost is a terminal, or whoever started us with -f.
type foregroundHost struct{}

func (foregroundHost) logFile(name string) (io.Writer, error) {
	if name == "" {
		return os.Stderr, nil
	}
	return openLog(name)
}

func (foregroundHost) layersOpen() {}

func (foregroundHost) ready() error { return nil }

// daemonHost is the background.
type daemonHost struct {
	parent *os.File // nil after ready
	log    *os.File // nil: messages go nowhere
}

func (h *daemonHost) logFile(name string) (io.Writer, error) {
	if name == "" {
		return io.Discard, nil
	}
	f, err := openLog(name)
	h.log = f
	return f, err
}

// layersOpen closes what the caller had open and not marked close-on-exec; a
// layer may have been named by such a descriptor (/proc/self/fd/5).
func (h *daemonHost) layersOpen() { keeper.CloseInherited() }

// ready lets go of all that we had from the parent. podman waits until nobody
// holds its pipe: that is why standard error has to go before the answer.
func (h *daemonHost) ready() error {
	errOut := h.log
	if errOut == nil {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("cannot open %s: %w", os.DevNull, err)
		}
		defer null.Close()
		errOut = null
	}
	if err := unix.Dup3(int(errOut.Fd()), 2, 0); err != nil {
		return fmt.Errorf("cannot let go of standard error: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("cannot leave the directory of the caller: %w", err)
	}
	err := json.NewEncoder(h.parent).Encode(answer{})
	h.parent.Close()
	h.parent = nil
	if err != nil {
		return fmt.Errorf("the caller is gone: %w", err)
	}
	return nil
}

func openLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log: %w", err)
	}
	return f, nil
}
