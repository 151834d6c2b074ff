package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
)

// exitTimeout is the exit code of a command that --timeout has ended, as
// timeout(1) has it.
const exitTimeout = 124

// grace is how long a command may take to end by itself after its time.
const grace = 5 * time.Second

// run runs the command in its sandbox, and ends the sandbox as was asked.
func (t *trial) run() error {
	b, taken, fresh, err := t.open()
	if err != nil {
		return runError(err)
	}
	defer taken.Close()
	code, err := t.command(b)
	if err != nil {
		// A command that could not be started has changed nothing.
		var start *container.StartError
		if errors.As(err, &start) && fresh {
			err = errors.Join(err, b.c.Remove(false))
		}
		return runError(err)
	}
	err = t.finish(b, fresh)
	sandbox.Sync(b.c.Dir()) // unless it was discarded
	if err != nil {
		return cli.WithCode(cli.ExitNotRun, err)
	}
	if code != 0 {
		return cli.Silent(code)
	}
	return nil
}

// command runs it to its end.
func (t *trial) command(b *box) (code int, err error) {
	signals := make(chan os.Signal, 16)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	std, err := t.stdio(b.c.Spec().Process.Terminal, ended)
	if err != nil {
		return 0, err
	}
	std.payload.Meanwhile = func() {
		signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	}
	run, err := b.c.Start(std.payload)
	std.started()
	if err != nil {
		return 0, err
	}
	tell(run.Warnings)
	out := t.connect(run, ended)
	var timer <-chan time.Time
	if t.timeout > 0 {
		timer = time.After(t.timeout)
	}
	timedOut := make(chan bool, 1)
	go func() { timedOut <- attendCommand(run, signals, timer, ended) }()
	// Before that a sandbox isn't worth the disk's time.
	sync := time.AfterFunc(time.Second, func() { sandbox.Sync(b.c.Dir()) })
	defer sync.Stop()
	code, err = run.Wait()
	close(ended)
	out()
	std.wait()
	if <-timedOut {
		tell([]string{fmt.Sprintf("the command was ended after %v", t.timeout)})
		code = exitTimeout
	}
	return code, err
}

// attendCommand passes signals on and keeps the time; true says that it was up.
func attendCommand(run *container.Run, signals <-chan os.Signal, timer <-chan time.Time, ended <-chan struct{}) (late bool) {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGWINCH {
				if run.Terminal != nil {
					cli.CopySize(run.Terminal, os.Stdin)
				}
				continue
			}
			_ = run.Signal(s.(syscall.Signal)) // it may just have ended
		case <-timer:
			if late {
				_ = run.Signal(unix.SIGKILL)
				timer = nil
				continue
			}
			late, timer = true, time.After(grace)
			_ = run.Signal(unix.SIGTERM)
		case <-ended:
			return late
		}
	}
}

// stdio is what a command without a terminal gets: ours, but for terminals
// (see stdio.in), and so that what is typed after its end is left for us.
func (t *trial) stdio(terminal bool, ended <-chan struct{}) (*stdio, error) {
	s := new(stdio)
	if terminal {
		return s, nil
	}
	s.payload.Stdin = os.Stdin
	if isTerminal(os.Stdin) {
		pr, pw, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		s.payload.Stdin, s.theirs = pr, append(s.theirs, pr)
		go func() {
			feed(pw, ended)
			pw.Close()
		}()
	}
	var err error
	if s.payload.Stdout, err = s.out(os.Stdout); err != nil {
		return nil, err
	}
	s.payload.Stderr, err = s.out(os.Stderr)
	return s, err
}

// connect joins our terminal and that of the command; what it gives back waits
// for the last output and puts ours in order.
func (t *trial) connect(run *container.Run, ended <-chan struct{}) func() {
	if run.Terminal == nil {
		return func() {}
	}
	cli.CopySize(run.Terminal, os.Stdin)
	undo, err := cli.Raw(os.Stdin)
	if err != nil {
		undo = func() {}
	}
	shown := make(chan struct{})
	go func() {
		_, _ = io.Copy(os.Stdout, run.Terminal) // ends with EIO when nobody has the other end any more
		close(shown)
	}()
	go feed(run.Terminal, ended)
	return func() {
		select {
		case <-shown:
		case <-time.After(time.Second): // somebody in the background holds it
		}
		undo()
		run.Terminal.Close()
	}
}

// feed passes on what is typed until the command has ended. It polls, so that
// what is typed after that is ours to read.
func feed(to *os.File, ended <-chan struct{}) {
	buf := make([]byte, 4096)
	for {
		p := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		n, err := unix.Poll(p, 50)
		select {
		case <-ended: // asked after the poll: an answer to a question of ours isn't taken
			return
		default:
		}
		if err != nil || n == 0 {
			continue
		}
		n, err = os.Stdin.Read(buf)
		if n > 0 {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}
