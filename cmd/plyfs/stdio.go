package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// terminalSize is that of our terminal.
func terminalSize() container.Size {
	size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return container.Size{}
	}
	return container.Size{Rows: size.Row, Columns: size.Col}
}

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
