package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/keeper"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// stateFormat is the format of all that a server leaves to the next one: what is
// below, the node table, and the other shared memory. A change raises it; the
// next server reads its own format and those before.
const stateFormat = 1

// state is what the next server of a mount has to know beside the descriptors.
// It lies in a memfd that the keeper holds.
type state struct {
	Format  int
	Options []byte
	Dir     []byte
	Dev     string
	MountID int
	Trace   bool
	Session *fusefs.Session
}

// link is the connection to the keeper; nil when there is none.
var link *keeper.Link

// kept gives the keeper all that another server needs. It is called when the
// mount answers.
func kept(r *request, held map[string]int, fuse int, config fusefs.Config, server *fusefs.Server, mine mountLine, out io.Writer) error {
	text, err := json.Marshal(state{stateFormat, []byte(r.options.String()), []byte(mine.dir), mine.dev, mine.id, r.trace, server.Session()})
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("plyfs-state", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "state")
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	held["state"], held["fuse"], held["flight"] = fd, fuse, config.Flight.FD()
	if config.Meter != nil {
		held["meter"] = config.Meter.FD()
	}
	if l, ok := out.(*os.File); ok {
		held["log"] = int(l.Fd())
	}
	for name, fd := range held {
		if err := link.Keep(name, fd); err != nil {
			return err
		}
	}
	return link.Ready(mine.dev)
}

// takeOver goes on with a mount whose server is gone.
func takeOver() error {
	held, alive, err := link.Take()
	if err != nil {
		return err
	}
	out := io.Writer(io.Discard)
	if fd, ok := held["log"]; ok {
		delete(held, "log")
		out = os.NewFile(uintptr(fd), "log")
	}
	logger := log.New(out, program+": ", log.LstdFlags|log.Lmsgprefix)
	s, r, err := readState(held)
	if err == nil && alive && !s.Session.Resends() {
		err = errors.New("this kernel (before 6.9) doesn't send again what the old server has in hand: unmount it, and mount again")
	}
	if err != nil {
		link.Unable(err)
		return err
	}
	weight, err := link.Able()
	if err == nil {
		err = goOn(s, r, held, weight, logger, out)
	}
	if err != nil {
		logger.Print(err)
	}
	return err
}

// readState reads what the server before has left, and changes nothing: that
// server may be at work yet.
func readState(held map[string]int) (*state, *request, error) {
	fd, ok := held["state"]
	if !ok {
		return nil, nil, errors.New("the keeper has no state")
	}
	delete(held, "state")
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size > 64<<20 {
		return nil, nil, fmt.Errorf("the state of the mount can't be read: %d bytes, %w", st.Size, err)
	}
	text := make([]byte, st.Size)
	if n, err := unix.Pread(fd, text, 0); err != nil || n != len(text) {
		return nil, nil, fmt.Errorf("the state of the mount can't be read: %w", err)
	}
	s := &state{}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(s); err != nil {
		return nil, nil, fmt.Errorf("the state of the mount is damaged: %w", err)
	}
	if s.Format != stateFormat || s.Session == nil {
		return nil, nil, fmt.Errorf("the state of the mount on %s has format %d, and this plyfs reads %d: unmount it, and mount again", s.Dir, s.Format, stateFormat)
	}
	o, _, err := layer.Parse([]string{string(s.Options)}, true)
	if err != nil {
		return nil, nil, fmt.Errorf("the options of the mount on %s: %w", s.Dir, err)
	}
	return s, &request{options: o, mountPoint: string(s.Dir), trace: s.Trace}, nil
}

// goOn serves the mount until it is gone.
func goOn(s *state, r *request, held map[string]int, weight uint64, logger *log.Logger, out io.Writer) error {
	fusefs.TuneProcess()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	flight, err := fusefs.OpenFlight(held["flight"], weight)
	if err != nil {
		return err
	}
	fuse := held["fuse"]
	delete(held, "flight")
	delete(held, "fuse")
	var counted *os.File
	if fd, ok := held["meter"]; ok {
		delete(held, "meter")
		counted = os.NewFile(uintptr(fd), "meter")
	}
	tree, err := union.Restore(r.options, held)
	if err != nil {
		return fmt.Errorf("cannot go on with the mount on %s: %w", s.Dir, err)
	}
	mine := mountLine{dir: string(s.Dir), dev: s.Dev, id: s.MountID}
	announce(mine)
	config := mountConfig(r, logger, out)
	config.Session, config.Flight = s.Session, flight
	config.Meter = count(mine, counted, logger)
	defer config.Meter.Close()
	server := fusefs.NewServer(fuse, tree, config)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve() }()
	err = attend(server, mine, signals, ended, logger)
	if e := tree.Close(); err == nil {
		err = e
	}
	if err == nil {
		link.Bye()
	}
	return err
}
