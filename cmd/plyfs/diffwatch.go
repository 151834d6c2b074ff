package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/sandbox"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
)

// diff --watch compares again whenever requests that change something have come,
// and prints what is new. So what it prints is what diff would have printed, also
// where a program changes more than anybody could follow. Whether there were such
// requests is read in the memory that the server counts in: it is asked nothing.

// undone is the kind of a change that is none any more, and its letter.
const (
	undone       = sandbox.Kind("undone")
	undoneLetter = "U "
)

// changing are the requests that change something.
var changing = map[string]bool{
	"WRITE": true, "CREATE": true, "TMPFILE": true, "MKDIR": true, "MKNOD": true, "SYMLINK": true, "LINK": true, "UNLINK": true,
	"RMDIR": true, "RENAME": true, "RENAME2": true, "SETATTR": true, "SETXATTR": true, "REMOVEXATTR": true, "FALLOCATE": true,
	"COPY_FILE_RANGE": true, "IOCTL": true, "OPEN": true, // OPEN: with passthrough the kernel writes by itself
}

// watchPauses are how long to wait before the next look at the counters, and at
// least between two comparisons.
const (
	watchPause   = 50 * time.Millisecond
	comparePause = 500 * time.Millisecond
)

// diffWatch follows what changes until it ends, or ^C.
type diffWatch struct {
	form  string
	args  []string // of plyfs diff: what is compared
	known map[string]sandbox.Change
	c     *container.Container // nil: a directory
	look  *subject             // nil: nobody counts
	seen  uint64
}

func watchDiff(form string, c *container.Container, args []string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(stop)
	w := &diffWatch{form: form, args: args, c: c, known: map[string]sandbox.Change{}}
	if c != nil {
		if s, err := lookAtContainer(c); err == nil {
			w.look = s
			defer s.Close()
		}
	}
	for {
		running := w.running()
		w.seen = w.changes()
		if err := w.compare(); err != nil {
			if c != nil && !w.running() && errors.Is(w.exists(), container.ErrNotFound) {
				return nil // removed at its end, as it was asked for
			}
			return err
		}
		if c != nil && !running {
			return nil
		}
		if end := w.await(stop); end {
			return nil
		}
	}
}

// await waits for a reason to compare again; end is that of ^C.
func (w *diffWatch) await(stop <-chan os.Signal) (end bool) {
	for begun := time.Now(); ; {
		select {
		case <-stop:
			return true
		case <-time.After(watchPause):
		}
		if w.c != nil && !w.running() {
			return false
		}
		if time.Since(begun) >= comparePause && (w.look == nil || w.changes() != w.seen) {
			return false
		}
	}
}

func (w *diffWatch) running() bool {
	if w.c == nil {
		return true
	}
	st, err := w.c.State()
	return err == nil && (st.Status == container.Running || st.Status == container.Paused)
}

func (w *diffWatch) exists() error {
	_, err := w.c.State()
	return err
}

// changes is how many requests have come that change something.
func (w *diffWatch) changes() (n uint64) {
	if w.look == nil {
		return 0
	}
	return changesIn(w.look.Snapshot())
}

func changesIn(s *meter.Snapshot) (n uint64) {
	for op, k := range fusefs.CountsOf(s) {
		if changing[op] {
			n += k
		}
	}
	return n
}

// compare runs diff, and prints what is not as it was the last time.
func (w *diffWatch) compare() error {
	cmd := exec.Command(selfExe, append([]string{"diff", "--format", "json"}, w.args...)...)
	cmd.Args[0] = program
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if text := firstLine(errs.Bytes()); text != "" {
			return errors.New(strings.TrimPrefix(text, program+": "))
		}
		return fmt.Errorf("plyfs diff: %w", err)
	}
	var rep diffReport
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		return fmt.Errorf("plyfs diff: %w", err)
	}
	gone := w.known
	w.known = map[string]sandbox.Change{}
	for _, ch := range rep.Changes {
		before, had := gone[ch.Path]
		delete(gone, ch.Path)
		w.known[ch.Path] = ch
		if !had || !reflect.DeepEqual(before, ch) {
			if err := w.print(&ch, ch.Line()); err != nil {
				return err
			}
		}
	}
	for _, p := range slices.Sorted(keys(gone)) {
		ch := gone[p]
		ch.Kind = undone
		if err := w.print(&ch, undoneLetter+sandbox.Quote(ch.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *diffWatch) print(ch *sandbox.Change, line string) error {
	switch w.form {
	case cli.FormJSON:
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(ch)
	case "name-only":
		line = sandbox.Quote(ch.Path)
	case cli.FormTable:
	default:
		return cli.PrintList(os.Stdout, w.form, "", nil, []*sandbox.Change{ch})
	}
	_, err := fmt.Println(line)
	return err
}

// sameDiff is the command line that compares the same.
func sameDiff(root string, lower, rest []string) (args []string) {
	if root != "" {
		args = append(args, "--root", root)
	}
	for _, l := range lower {
		args = append(args, "--lower", l)
	}
	return append(append(args, "--"), rest...)
}
