package main

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// stdio connects a payload without a terminal to ours. A file or a pipe it gets
// as it is; a terminal it doesn't get, because whoever has one can type into
// it: bytes are copied.
type stdio struct {
	payload container.IO
	theirs  []*os.File // the payload's ends of pipes
	copies  sync.WaitGroup
}

func (r *runRequest) stdio() (*stdio, error) {
	s := new(stdio)
	if r.spec.Process.Terminal {
		s.payload.Size = terminalSize()
		return s, nil
	}
	var err error
	if r.interactive {
		if s.payload.Stdin, err = s.in(os.Stdin); err != nil {
			return nil, err
		}
	}
	if s.payload.Stdout, err = s.out(os.Stdout); err != nil {
		return nil, err
	}
	s.payload.Stderr, err = s.out(os.Stderr)
	return s, err
}

// terminalSize is the size of the terminal that we read from, so that the payload
// finds it from its first moment on; nil where there is none.
func terminalSize() *unix.Winsize {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return nil
	}
	return size
}

func (s *stdio) in(f *os.File) (*os.File, error) {
	if !cli.IsTerminal(f) {
		return f, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, pr)
	go func() { // ends with us at the latest: nobody can interrupt a read of a terminal
		_, _ = io.Copy(pw, f)
		pw.Close()
	}()
	return pr, nil
}

func (s *stdio) out(f *os.File) (*os.File, error) {
	if !cli.IsTerminal(f) {
		return f, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, pw)
	s.copies.Add(1)
	go func() {
		defer s.copies.Done()
		_, _ = io.Copy(f, pr)
	}()
	return pw, nil
}

// started gives up what is the payload's now.
func (s *stdio) started() {
	for _, f := range s.theirs {
		f.Close()
	}
}

// wait waits for the last of the output.
func (s *stdio) wait() { s.copies.Wait() }

// relay connects our terminal to the payload's; stop puts ours back when the
// last of the output has come.
func relay(master *os.File) (stop func()) {
	undo := func() {}
	if u, err := cli.Raw(os.Stdin); err == nil {
		undo = u
	}
	cli.CopySize(master, os.Stdin)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	go func() {
		for range resized {
			cli.CopySize(master, os.Stdin)
		}
	}()
	go func() { _, _ = io.Copy(master, os.Stdin) }()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(os.Stdout, master) // EIO when nobody has the other end
		close(done)
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(time.Second): // a process outside of the container has it
		}
		signal.Stop(resized)
		undo()
	}
}
