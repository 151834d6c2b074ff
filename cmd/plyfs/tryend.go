package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/container/sandbox"
)

// shownChanges is how many changes the summary lists; shownClosed the same for
// directories that could not be read.
const (
	shownChanges = 40
	shownClosed  = 5
)

// finish says what has changed and does with it what was asked for.
func (t *trial) finish(b *box, fresh bool) error {
	v, done, err := b.view()
	if err != nil {
		return err
	}
	changes, err := v.Changes(t.end == "commit")
	done()
	if err != nil {
		return fmt.Errorf("sandbox %s is kept: what it has changed can't be told: %w", b.name, err)
	}
	if !t.quiet {
		t.summary(b, changes)
	}
	end := t.end
	if end == "" {
		switch {
		case len(changes) == 0 && fresh && t.name == "":
			end = "discard"
		case len(changes) > 0 && isTerminal(os.Stdin) && isTerminal(os.Stderr):
			end = ask(b)
		default:
			end = "keep"
		}
	}
	switch end {
	case "commit":
		all, err := b.commit(nil, false, true)
		if err != nil {
			return fmt.Errorf("sandbox %s is kept: %w", b.name, err)
		}
		if !all {
			t.say("sandbox %s is kept for what stays in it", b.name)
			return nil
		}
		return b.c.Remove(false)
	case "discard":
		return b.c.Remove(false)
	}
	t.say("kept as %s: plyfs diff %s, plyfs commit --to-host %s, plyfs discard %s, plyfs try --name %s", b.name, b.name, b.name, b.name, b.name)
	return nil
}

func (t *trial) say(format string, a ...any) {
	if !t.quiet {
		fmt.Fprintf(os.Stderr, program+": "+format+"\n", a...)
	}
}

// summary goes to standard error: standard output is the command's.
func (t *trial) summary(b *box, changes []sandbox.Change) {
	fmt.Fprintf(os.Stderr, "%s: sandbox %s (network: %s)\n", program, b.name, t.net)
	if len(b.config.Pass) > 0 {
		fmt.Fprintf(os.Stderr, "%s: passed through, and changed on the host itself: %s\n", program, strings.Join(t.rw, ", "))
	}
	sandbox.Summary(os.Stderr, changes, shownChanges)
	closed := sandbox.Closed(b.c.Dir())
	if len(closed) == 0 {
		return
	}
	list := strings.Join(closed[:min(len(closed), shownClosed)], ", ")
	if more := len(closed) - shownClosed; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	what := "directories that you may not read were"
	if len(closed) == 1 {
		what = "directory that you may not read was"
	}
	fmt.Fprintf(os.Stderr, "%d %s empty inside: %s\n", len(closed), what, list)
}

// ask asks what to do with the sandbox; without an answer it is kept.
func ask(b *box) string {
	in := bufio.NewReader(os.Stdin)
	for range 5 {
		fmt.Fprintf(os.Stderr, "commit to the host, keep as %s, or discard? [c/K/d] ", b.name)
		line, err := in.ReadString('\n')
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "c", "commit":
			return "commit"
		case "d", "discard":
			return "discard"
		case "k", "keep":
			return "keep"
		case "":
			return "keep"
		}
		if err != nil {
			break
		}
	}
	return "keep"
}
