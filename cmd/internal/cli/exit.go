package cli

import (
	"errors"
	"fmt"
	"io"
)

// The exit codes of plyfs. Scripts rely on them: they are never renumbered.
// A verb that runs another program (run, exec) ends with its code, 128+N for a
// signal, and says by docker's codes why it did not run.
const (
	ExitOK      = 0 // done
	ExitFailure = 1 // it could not be done; doctor: something needed is missing; fsck: the upper has faults
	ExitUsage   = 2 // the command line is wrong: unknown verb, flag or option, missing argument

	ExitNotRun  = 125 // run, exec: nothing was started, be it for a wrong flag
	ExitCantRun = 126 // the command can't be executed
	ExitNoFile  = 127 // the command isn't there
)

// codedError ends the program with a code of its own.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// WithCode makes err end the program with a code, whatever kind it is of.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return codedError{err, code}
}

// usageError is an error of the command line.
type usageError struct{ error }

// Usagef makes an error that ends the program with ExitUsage.
func Usagef(format string, a ...any) error {
	return usageError{fmt.Errorf(format, a...)}
}

// Silent ends the program with a code and says nothing: what there is to say
// was said.
type Silent int

func (s Silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// Exit tells err on w, in one line, and gives the code to exit with.
func Exit(w io.Writer, program string, err error) int {
	var silent Silent
	var usage usageError
	var coded codedError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &silent):
		return int(silent)
	}
	fmt.Fprintf(w, "%s: %v\n", program, err)
	if errors.As(err, &coded) {
		return coded.code
	}
	if errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailure
}
