package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/plyfs/plyfs/cmd/internal/kept"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/keeper"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// link is the connection to the keeper; nil when there is none.
var link *keeper.Link

// keep gives the keeper all that another server needs. It is called when the
// mount answers.
func keep(r *request, held map[string]int, fuse int, config fusefs.Config, server *fusefs.Server, mine mountLine, out io.Writer) error {
	s := kept.State{Options: []byte(r.options.String()), Dir: []byte(mine.dir), Dev: mine.dev, MountID: mine.id, Trace: r.trace, Session: server.Session()}
	f, err := s.Write()
	if err != nil {
		return err
	}
	defer f.Close()
	held["state"], held["fuse"], held["flight"] = int(f.Fd()), fuse, config.Flight.FD()
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
	return link.Ready("", mine.dev, mine.dir)
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
	s, o, err := kept.Read(held)
	if err == nil && alive && !s.Session.Resends() {
		err = errors.New("this kernel (before 6.9) doesn't send again what the old server has in hand: unmount it, and mount again")
	}
	if err != nil {
		link.Unable(err)
		return err
	}
	weight, err := link.Able()
	if err == nil {
		err = goOn(s, o, held, weight, logger, out)
	}
	if err != nil {
		logger.Print(err)
	}
	return err
}

// goOn serves the mount until it is gone.
func goOn(s *kept.State, o *layer.Options, held map[string]int, weight uint64, logger *log.Logger, out io.Writer) error {
	fusefs.TuneProcess()
	r := &request{options: o, mountPoint: string(s.Dir), trace: s.Trace}
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
