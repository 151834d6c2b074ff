package cli

import (
	"errors"
	"fmt"
	"io"
)

// The exit codes of plyfs. Scripts rely on them: they are never renumbered.
// A command that runs another program (later: run, exec, try) adds docker's
// 125, 126, 127 and 128+N to these.
const (
	ExitOK      = 0 // done
	ExitFailure = 1 // it could not be done; doctor: something needed is missing; fsck: the upper has faults
	ExitUsage   = 2 // the command line is wrong: unknown verb, flag or option, missing argument
)

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
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &silent):
		return int(silent)
	}
	fmt.Fprintf(w, "%s: %v\n", program, err)
	if errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailure
}
