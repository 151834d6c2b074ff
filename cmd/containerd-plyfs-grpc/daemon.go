package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/mountd"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/plugin/proxy"
	"github.com/plyfs/plyfs/snapshot"
	"github.com/plyfs/plyfs/snapshot/servers"
	"google.golang.org/grpc"
)

// grace is how long calls may take to end when the daemon is to stop.
const grace = 10 * time.Second

// daemon serves until a signal.
func daemon(c *config) error {
	logger, err := newLogger(c, os.Stderr)
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	syscall.Umask(0o022)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	l, err := listener(c.Address)
	if err != nil {
		return err
	}
	defer l.Close()
	pool, err := newPool(c)
	if err != nil {
		return err
	}
	defer pool.Close()
	sn, err := snapshot.New(snapshot.Config{
		Root: c.Root, State: c.State, Mounter: pool, Options: c.options,
		UserNS: sys.InUserNamespace(), FuseMounts: c.Mounts.Fuse, Log: logger,
	})
	if err != nil {
		return err
	}
	defer sn.Close()

	m := newMetrics(sn, pool)
	d, disconnect, err := newDiffer(c, sn)
	if err != nil {
		return fmt.Errorf("containerd %s: %w", c.Containerd.Address, err)
	}
	defer disconnect()
	server := proxy.NewServer(sn, d, observer(logger, m))
	failed := make(chan error, 4)
	stopHTTP, err := serveHTTP(c, m, failed)
	if err != nil {
		return err
	}
	defer stopHTTP()
	go func() { failed <- server.Serve(l) }()

	logger.Info("serving", "address", c.Address, "root", c.Root, "version", cli.VersionString())
	go func() {
		if err := sn.Ready(context.Background()); err != nil {
			failed <- err
			return
		}
		notify(logger, sd.SdNotifyReady)
	}()
	stopDog := watchdog(sn, logger)
	defer stopDog()
	select {
	case err := <-failed:
		return err
	case s := <-signals:
		logger.Info("stopping; mounts stay", "signal", s.String())
		notify(logger, sd.SdNotifyStopping)
		stopServer(server)
		return nil
	}
}

// stopServer lets calls end.
func stopServer(s *grpc.Server) {
	defer time.AfterFunc(grace, s.Stop).Stop()
	s.GracefulStop()
}

func newPool(c *config) (*servers.Pool, error) {
	cfg := servers.Config{State: c.State, MountsPerServer: c.Mounts.PerServer, Program: "/proc/self/exe", Args: []string{program, serveVerb}, Version: cli.VersionString()}
	if c.Mounts.Keeper {
		cfg.Args = append(cfg.Args, keptFlag, mountd.KeeperSocket(c.State))
	}
	cfg.Silent = func(who string) {
		slog.Warn("mounts are left to a server that does not answer: if it is stopped, continue or kill it", "server", who)
	}
	// A pipe to somebody who waits for our end would be held open by the
	// servers: they write to a file then.
	if fi, err := os.Stderr.Stat(); err == nil && fi.Mode()&os.ModeNamedPipe != 0 {
		if err := os.MkdirAll(c.State, 0o700); err != nil {
			return nil, fmt.Errorf("directory %s cannot be made: %w", c.State, err)
		}
		f, err := os.OpenFile(c.State+"/servers.log", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log of the server processes: %w", err)
		}
		cfg.Log = f
	}
	return servers.NewPool(cfg)
}

// sunPath is the longest name of a socket.
const sunPath = 107

// listener is the socket that systemd has opened for us, or a new one.
func listener(address string) (net.Listener, error) {
	ls, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	if len(ls) > 1 {
		return nil, fmt.Errorf("socket activation: %d sockets were passed, and one is wanted", len(ls))
	}
	if len(ls) == 1 {
		return ls[0], nil
	}
	return listenUnix("address", address)
}

// listenUnix makes a socket that its owner can open; flag is how another place
// is given.
func listenUnix(flag, address string) (net.Listener, error) {
	if len(address) > sunPath {
		return nil, fmt.Errorf("socket %s: the path has %d bytes, and a socket's can have %d: give a shorter --%s", address, len(address), sunPath, flag)
	}
	if err := os.MkdirAll(filepath.Dir(address), 0o755); err != nil {
		return nil, fmt.Errorf("socket %s: %w", address, err)
	}
	if err := freeSocket(flag, address); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", address)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", address, err)
	}
	return l, nil
}

// freeSocket removes the socket of a daemon that was killed, and nothing else.
func freeSocket(flag, address string) error {
	fi, err := os.Lstat(address)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket %s: %w", address, err)
	case fi.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("socket %s: there is something else with this name: move it away, or give another --%s", address, flag)
	}
	c, err := net.DialTimeout("unix", address, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("socket %s is in use: another daemon serves it; stop that one, or give another --%s", address, flag)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s: %w", address, err)
	}
	if err := os.Remove(address); err != nil {
		return fmt.Errorf("socket %s of an earlier daemon: %w", address, err)
	}
	return nil
}

func notify(logger *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		logger.Warn("systemd is not told", "state", state, "error", err)
	}
}

// watchdog tells systemd that we live, as long as the metadata answers.
func watchdog(sn *snapshot.Snapshotter, logger *slog.Logger) (stop func()) {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("no watchdog", "error", err)
	}
	if err != nil || every == 0 {
		return func() {}
	}
	ticker := time.NewTicker(every / 2)
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				if err := sn.Ping(context.Background()); err != nil {
					logger.Error("the metadata does not answer", "error", err)
					continue
				}
				notify(logger, sd.SdNotifyWatchdog)
			}
		}
	}()
	return func() { ticker.Stop(); close(end) }
}

// newLogger writes what the configuration says it is to write.
func newLogger(c *config, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return nil, fmt.Errorf("log level %q is not one of debug, info, warn, error", c.Log.Level)
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.Log.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q is not one of text, json", c.Log.Format)
}
