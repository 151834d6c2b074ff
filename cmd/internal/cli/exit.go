package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The exit codes of plyfs. Scripts rely on them: they are never renumbered.
// A verb that runs another program (run, exec) ends with its code, 128+N for a
// signal, and says by docker's codes why it did not run.
const (
	ExitOK      = 0 // done
	ExitFailure = 1 // it could not be done, or the command line is wrong; doctor: something needed is missing; fsck: the upper has faults

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

// Silent ends the program with a code and says nothing: what there is to say
// was said.
type Silent int

func (s Silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// Exit tells err on w, in one line (joined errors in one line each), and gives
// the code to exit with.
func Exit(w io.Writer, program string, err error) int {
	var silent Silent
	var coded codedError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &silent):
		return int(silent)
	}
	for _, e := range each(err) {
		fmt.Fprintf(w, "%s: %s\n", program, OneLine(e.Error()))
	}
	if errors.As(err, &coded) {
		return coded.code
	}
	return ExitFailure
}

// each are the errors that errors.Join made err of.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	return joined.Unwrap()
}

// OneLine writes what would break a line, or turn a terminal's colours, as Go
// does: names of files may hold anything.
func OneLine(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			q := strconv.QuoteToGraphic(s[:n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
