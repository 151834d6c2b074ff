package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// roleEnv says to a process of ours what it is.
const roleEnv = "_PLYFS_ROLE"

// quickEnv before the name of a variable says that the monitor has set it, for
// the start only.
const quickEnv = "_PLYFS_QUICK_"

// The descriptors that a role finds. A role that doesn't need one has nothing
// there.
const (
	fdPeer  = 3 // socket to the monitor
	fdOrder = 4 // the order, as a file
	fdInit  = 5 // stage: init's end of the socket to the monitor; init: socket to the stage
	fdLog   = 6 // stage: what the server of the root has to say
	fdCount = 7 // stage: memory that the server counts in
)

// roles are what this program can be started as.
var roles = map[string]func(Opener) error{
	"monitor": runMonitor,
	"keeper":  runKeeper,
	"stage":   runStage,
	"init":    runInit,
	"exec":    runExec,
	"copy":    runCopy,
	"asroot":  runAsRoot,
}

func init() {
	// Namespaces, capabilities and filters belong to threads. The main
	// goroutine of a role keeps the main thread, which is also the one
	// whose end the kernel takes for the end of the process's children's
	// parent.
	if os.Getenv(roleEnv) != "" {
		runtime.LockOSThread()
	}
}

// Boot runs this process as one of ours when it is one, and doesn't return
// then. A program calls it first of all.
func Boot(open Opener) {
	name := os.Getenv(roleEnv)
	if name == "" {
		return
	}
	os.Unsetenv(roleEnv)
	if name == asUserRoot {
		awaitUserRoot()
		return
	}
	for _, v := range []string{"GOMAXPROCS", "GOGC"} {
		if os.Getenv(quickEnv+v) != "" {
			os.Unsetenv(quickEnv + v)
			os.Unsetenv(v)
		}
	}
	run, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "plyfs: %s=%s: this variable is for plyfs itself\n", roleEnv, name)
		os.Exit(2)
	}
	// What reads our memory could take over the descriptor of the root.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if err := run(open); err != nil {
		fmt.Fprintf(os.Stderr, "plyfs: %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// order is all that the stage and init are told. It travels as a file: the
// environment of a payload may be larger than a message can be.
type order struct {
	Spec Spec
	ID   string
	Dir  string // the container's directory

	Outer, Inner idMaps // of the stage's and of init's user namespace
	// HostRoot says that the stage is root of the host (or of the namespace
	// that we were started in), so that ids are shifted at mounts.
	HostRoot bool
	// Guarded says that the monitor forbids devices as soon as init has mounted
	// the root: for that it needs one that the payload doesn't.
	Guarded bool
	// Job is done in the container in place of its payload (aside.go).
	Job []string
	// Slack is the timer slack of the payload; 0 leaves it as it is.
	Slack uintptr
	// Quick says that init needs no program of its own (quick.go).
	Quick bool
	// Resolv and similar texts of the host that init may not be able to read.
	Resolv string
}

// maxOrder bounds what a role reads: nothing in it grows with a layer.
const maxOrder = 64 << 20

// readOrder leaves the file open: the stage passes it on.
func readOrder() (*order, error) {
	o := new(order)
	b, err := orderText()
	if err == nil {
		if err = unpack(b, o.packed); err != nil {
			err = fmt.Errorf("order: %w", err)
		}
	}
	return o, err
}

func readOrderInto(v any) error {
	b, err := orderText()
	if err == nil {
		if err = json.Unmarshal(b, v); err != nil {
			err = fmt.Errorf("order: %w", err)
		}
	}
	return err
}

func orderText() ([]byte, error) {
	var st unix.Stat_t
	err := unix.Fstat(fdOrder, &st)
	if err == nil {
		b := make([]byte, min(max(st.Size, 0), maxOrder))
		if _, err = io.ReadFull(io.NewSectionReader(preader(fdOrder), 0, maxOrder), b); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("no order on descriptor %d: %w; %s is for plyfs itself", fdOrder, err, roleEnv)
}

// preader reads a descriptor that stays with its owner.
type preader int

func (fd preader) ReadAt(p []byte, off int64) (int, error) {
	n, err := unix.Pread(int(fd), p, off)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return max(n, 0), err
}

// file makes the order readable for the roles; each of them reads from the
// start.
func (o *order) file() (*os.File, error) {
	text := pack(o.packed)
	if len(text) > maxOrder {
		return nil, errors.New("the container's description is too long")
	}
	return memFile("order", text)
}

func memFile(name string, text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("plyfs-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd: %w", err)
	}
	return f, seal(f, 0)
}
