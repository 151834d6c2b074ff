package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/fs/union"
)

// fuseInterface is the protocol that --version names: the newest one that
// fs/fusefs speaks.
const fuseInterface = "7.41"

// afterlife is how long the server of an earlier mount with the same work
// directory may take to end.
const afterlife = 5 * time.Second

// openLayers opens what r names and checks the mount point against it.
func openLayers(r *request) (*layer.Stack, error) {
	s, err := layer.Open(r.options)
	if err != nil {
		return nil, err
	}
	if err := s.CheckMountPoint(r.mountPoint); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// serve mounts r in this process and serves it until it is unmounted, or until
// a signal has unmounted it.
func serve(r *request, h host) error {
	out, err := h.logFile(r.log)
	if err != nil {
		return err
	}
	fusefs.TuneProcess()
	stack, err := openLayers(r)
	if err != nil {
		return err
	}
	// From here on only this name is used: the directory changes.
	dir, err := filepath.Abs(r.mountPoint)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		stack.Close()
		return fmt.Errorf("mount point %s: %w", r.mountPoint, err)
	}
	h.layersOpen()
	stack.AwaitIdle(afterlife)
	logger := log.New(out, program+": ", log.LstdFlags|log.Lmsgprefix)
	var bases *union.Bases
	if r.options.Index != "" {
		bases = &union.Bases{Log: logger.Printf}
	}
	tree, err := bases.New(stack, r.options)
	if err != nil {
		return err
	}
	err = serveTree(r, h, tree, dir, out, logger)
	if e := tree.Close(); err == nil {
		err = e
	}
	if err == nil {
		link.Bye()
	}
	return err
}

// mountConfig is how r is served.
func mountConfig(r *request, logger *log.Logger, out io.Writer) fusefs.Config {
	config := fusefs.Config{Options: r.options, UserNS: sys.InUserNamespace(), Log: logger}
	if r.trace {
		config.Trace = out
	}
	return config
}

// serveTree is serve with the union made and its mount point resolved.
func serveTree(r *request, h host, tree *union.FS, dir string, out io.Writer, logger *log.Logger) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	defer signal.Stop(signals)

	config := mountConfig(r, logger, out)
	var held map[string]int
	var err error
	if link != nil {
		if held, err = tree.Keep(); err == nil {
			config.Flight, err = fusefs.NewFlight()
		}
		if err != nil {
			return err
		}
	}
	fd, err := fusefs.Mount(dir, r.options, config.UserNS)
	if err != nil {
		return err
	}
	mine := mountOn(dir)
	announce(mine)
	config.Meter = count(mine, nil, logger)
	server := fusefs.NewServer(fd, tree, config)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve() }()
	if err = server.WaitReady(); err == nil && link != nil {
		err = keep(r, held, fd, config, server, mine, out)
	}
	if err == nil {
		err = h.ready()
	}
	if err != nil {
		// Nobody uses a mount that was never announced.
		if detach(dir) == nil {
			<-ended
		}
		return err
	}
	err = attend(server, mine, signals, ended, logger)
	if err != nil && mine.dev != "" && mine.onTop() {
		err = errors.Join(err, detach(dir)) // a mount without a server helps nobody
	}
	return err
}

// attend waits for the end of the server and serves signals: the first that
// asks for an end unmounts; where the mount is in use it leaves the tree and
// the server goes on for those who have files open, until a second signal.
func attend(server *fusefs.Server, m mountLine, signals <-chan os.Signal, ended <-chan error, logger *log.Logger) error {
	asked := false
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGUSR1:
				logCounts(server, logger)
			case asked:
				link.Bye()
				return fmt.Errorf("ended by a second signal (%v) while the mount on %s was in use", s, m.dir)
			default:
				asked = true
				go leave(m, logger)
			}
		}
	}
}

// count gives a server its meter, in memory that a server before has counted in
// if there is some. A mount without one is as good as any: nobody can look at it.
func count(m mountLine, before *os.File, logger *log.Logger) *meter.Meter {
	if before != nil {
		if c, err := meter.Serve(before); err == nil {
			return c
		} // that of another version
	}
	c, err := meter.New(m.dev)
	if err != nil {
		logger.Printf("plyfs stats and trace can't see the mount on %s: %v", m.dir, err)
	}
	return c
}

// leave unmounts m, lazily where it is in use. It asks the kernel to ask the
// server, so it has to be a goroutine of its own.
func leave(m mountLine, logger *log.Logger) {
	if !m.onTop() {
		logger.Printf("cannot unmount %s: something else is mounted over it; unmount that first", m.dir)
		return
	}
	err := fusefs.Unmount(m.dir)
	if err != nil {
		logger.Printf("%v; it is unmounted for new users, and served until the last one ends", err)
		err = detach(m.dir)
	}
	if err != nil {
		logger.Printf("cannot unmount: %v", err)
	}
}

// logCounts writes how many requests of each kind have come.
func logCounts(server *fusefs.Server, logger *log.Logger) {
	counts := server.Counts()
	names := make([]string, 0, len(counts))
	for n := range counts {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		logger.Printf("%s %d", n, counts[n])
	}
}
