package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/layer"
)

const traceUsage = `usage: plyfs trace [FLAG…] MOUNT|CONTAINER

Shows each request that the kernel makes of a mount (its mount point, with a slash
in it) or of a container's root, as it is answered, until ^C or until the mount is
gone: when, which process, its command, the operation, the path, the result, and
how long the server took. Process 0 is the kernel itself, which writes back what was
written before. What the kernel answers from its caches is no request. The server
writes requests down only while somebody traces; when more come than can be read, a
line says how many are missing.

  --pid PID        only of this process (may be given again)
  --op NAME[,…]    only these operations: lookup, read, write, create, unlink, …
  --path PATTERN   only of this path and what is below it; or a pattern with * ? []
  --failed         only what was answered with an error
  -n --count N     end after so many
  -q --quiet       paths only
  --format table|json|TEMPLATE   json: one object per line
  --root DIR
  -h --help        this text
`

// traceLine is a request as trace shows it.
type traceLine struct {
	Time    time.Time `json:"time"`
	PID     uint32    `json:"pid"`
	UID     uint32    `json:"uid"`
	Command string    `json:"command,omitempty"`
	Op      string    `json:"op"`
	Path    string    `json:"path"`
	To      string    `json:"to,omitempty"`
	Result  string    `json:"result"` // ok, absent, or the name of an error
	Bytes   int64     `json:"bytes,omitempty"`
	Took    took      `json:"seconds"`
}

// traceFilter is what is wanted.
type traceFilter struct {
	pids   []uint32
	ops    []string
	path   string
	failed bool
}

func traceVerb(args []string) error {
	var f traceFilter
	form, root, quiet, count := cli.FormTable, "", false, 0
	spec := cli.Spec{Short: "hqn:", Long: []string{"help", "quiet", "count=", "pid=", "op=", "path=", "failed", "format=", "root="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, traceUsage) {
		return nil
	}
	for _, fl := range flags {
		switch fl.Name {
		case "q", "quiet":
			quiet = true
		case "root":
			root = fl.Value
		case "failed":
			f.failed = true
		case "path":
			f.path = fl.Value
			_, err = path.Match(f.path, "")
		case "n", "count":
			count, err = strconv.Atoi(fl.Value)
			if err == nil && count < 1 {
				err = errors.New("it is not a positive number")
			}
		case "pid":
			var pid uint64
			pid, err = strconv.ParseUint(fl.Value, 10, 31)
			f.pids = append(f.pids, uint32(pid))
		case "op":
			err = f.addOps(fl.Value)
		case "format":
			form, err = cli.Form(fl.Value)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", dashes(fl.Name), fl.Value, err)
		}
	}
	word, err := cli.One(rest, "mount or container")
	if err != nil {
		return err
	}
	s, err := lookAt(root, word)
	if err != nil {
		return err
	}
	defer s.Close()
	t := &tracing{subject: s, filter: f, form: form, quiet: quiet, left: count, out: bufio.NewWriter(os.Stdout)}
	return t.run()
}

// addOps reads a list of operations.
func (f *traceFilter) addOps(list string) error {
	known := fusefs.OpNames()
	for _, op := range strings.Split(list, ",") {
		name := strings.ToUpper(strings.TrimSpace(op))
		if !slices.Contains(known, name) {
			if near := layer.Nearest(name, known); near != "" {
				return fmt.Errorf("there is no operation %q; did you mean %s?", op, strings.ToLower(near))
			}
			return fmt.Errorf("there is no operation %q; some are lookup, getattr, read, write, create, unlink, rename2", op)
		}
		f.ops = append(f.ops, name)
		if name == "RENAME" { // which of the two comes, programs don't say
			f.ops = append(f.ops, "RENAME2")
		}
	}
	return nil
}

func (f *traceFilter) wants(l *traceLine, e *meter.Event) bool {
	return (len(f.pids) == 0 || slices.Contains(f.pids, e.PID)) &&
		(len(f.ops) == 0 || slices.Contains(f.ops, l.Op)) &&
		(f.path == "" || under(f.path, e.Path) || e.To != "" && under(f.path, e.To)) &&
		(!f.failed || e.Errno != 0)
}

// under says whether a path is meant by a pattern.
func under(pattern, p string) bool {
	if strings.ContainsAny(pattern, "*?[") {
		ok, _ := path.Match(pattern, p)
		return ok
	}
	pattern = path.Clean("/" + pattern)
	return pattern == "/" || p == pattern || strings.HasPrefix(p, pattern+"/")
}

// tracing is a trace under way.
type tracing struct {
	*subject
	filter traceFilter
	form   string
	quiet  bool
	left   int // 0: no end
	out    *bufio.Writer
	names  commands
	lost   uint64
}

const (
	tracePause = 2 * time.Millisecond
	traceRenew = time.Second
)

// run reads the ring until there is an end.
func (t *tracing) run() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(stop)
	if err := t.Trace(); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	defer t.out.Flush()
	t.names = commands{of: t.subject}
	tail := t.Tail()
	if !t.quiet {
		tell([]string{"tracing " + t.name + "; ^C ends it"})
	}
	renewed := time.Now()
	for {
		if time.Since(renewed) >= traceRenew {
			renewed = time.Now()
			if err := t.Trace(); err != nil {
				return err
			}
			if t.gone() != nil {
				if _, more := t.drain(tail); !more {
					return nil
				}
			}
		}
		done, _ := t.drain(tail)
		if err := t.out.Flush(); err != nil {
			if errors.Is(err, syscall.EPIPE) {
				return nil // head(1) has seen enough
			}
			return err
		}
		if done {
			return nil
		}
		select {
		case <-stop:
			return nil
		case <-time.After(tracePause):
		}
	}
}

// drain prints what there is; done says that enough was printed.
func (t *tracing) drain(tail *meter.Tail) (done, some bool) {
	for {
		e, ok := tail.Next()
		if tail.Lost > t.lost {
			_ = t.out.Flush()
			tell([]string{fmt.Sprintf("%d requests came faster than they could be read, and are missing here", tail.Lost-t.lost)})
			t.lost = tail.Lost
		}
		if !ok {
			return false, some
		}
		some = true
		l := t.line(&e)
		if !t.filter.wants(l, &e) {
			continue
		}
		t.print(l)
		if t.left > 0 {
			if t.left--; t.left == 0 {
				return true, true
			}
		}
	}
}

func (t *tracing) line(e *meter.Event) *traceLine {
	l := &traceLine{
		Time: e.At, PID: e.PID, UID: e.UID, Command: e.Command, Op: fusefs.OpName(e.Op),
		Path: e.Path, To: e.To, Result: "ok", Bytes: e.Bytes, Took: took(e.Took),
	}
	switch {
	case e.Absent:
		l.Result = "absent"
	case e.Errno != 0:
		if l.Result = unix.ErrnoName(syscall.Errno(e.Errno)); l.Result == "" {
			l.Result = fmt.Sprint("errno ", e.Errno)
		}
	}
	if l.Command == "" && e.PID != 0 {
		l.Command = t.names.get(e.PID)
	}
	return l
}

func (t *tracing) print(l *traceLine) {
	switch {
	case t.quiet:
		fmt.Fprintln(t.out, cli.OneLine(l.Path))
	case t.form == cli.FormJSON:
		enc := json.NewEncoder(t.out)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(l) // an error comes again at Flush
	case t.form == cli.FormTable:
		fmt.Fprintln(t.out, l.text())
	default:
		_ = cli.PrintList(t.out, t.form, "", nil, []*traceLine{l})
	}
}

// text is the line for people.
func (l *traceLine) text() string {
	who := l.Command
	if who == "" {
		who = "-"
	}
	what := cli.OneLine(l.Path)
	switch {
	case l.To == "":
	case strings.HasSuffix(l.Op, "XATTR"):
		what += " " + cli.OneLine(l.To)
	default:
		what += " -> " + cli.OneLine(l.To)
	}
	result := l.Result
	if l.Bytes > 0 {
		result = fmt.Sprint(l.Bytes, " bytes")
	}
	return fmt.Sprintf("%s %d %s %s %s = %s (%v)", l.Time.Format("15:04:05.000000"), l.PID, cli.OneLine(who), l.Op, what, result, l.Took)
}
