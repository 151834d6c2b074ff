package container

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The log has a line per line of output, in the form that the container runtime
// interface of Kubernetes has:
//
//	2026-11-24T10:00:00.000000000Z stdout F the text
//
// P instead of F says that the line goes on in the next one of that stream.
const (
	logName    = "log"
	oldLogName = "log.1"
	// maxLog is how long a log gets before it becomes the old one.
	maxLog = 10 << 20
	// maxLogLine cuts what never ends a line.
	maxLogLine = 16 << 10
)

// logger writes the output of a container down.
type logger struct {
	dir     string
	readers sync.WaitGroup
	theirs  []*os.File // the payload's ends of pipes

	mu   sync.Mutex
	f    *os.File // protected by mu
	size int64    // protected by mu
}

func openLog(dir string) (*logger, error) {
	l := &logger{dir: dir}
	return l, l.open()
}

// open opens the log's file. Preconditions: l.mu is held, or l is new.
func (l *logger) open() error {
	f, err := os.OpenFile(filepath.Join(l.dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	l.f, l.size = f, 0
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
	return nil
}

// pipe gives the writing end of a new pipe whose text is logged.
func (l *logger) pipe(stream string) (*os.File, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.theirs = append(l.theirs, pw)
	l.follow(stream, pr)
	return pw, nil
}

// follow logs what r gives until its end.
func (l *logger) follow(stream string, r io.ReadCloser) {
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		defer r.Close()
		in := bufio.NewReaderSize(r, maxLogLine)
		for {
			text, err := in.ReadSlice('\n')
			if len(text) > 0 {
				l.line(stream, string(text))
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	}()
}

// started gives up what is the payload's now.
func (l *logger) started() {
	for _, f := range l.theirs {
		f.Close()
	}
}

// lastOutput is how long the log waits for processes that have the payload's
// output open after its end: they can only be outside of the container.
const lastOutput = time.Second

// lastOf waits so long for the end of what is read.
func lastOf(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(lastOutput):
	}
}

// done is closed when all readers are at their end.
func (l *logger) done() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		l.readers.Wait()
		close(done)
	}()
	return done
}

func (l *logger) close() {
	lastOf(l.done())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.f.Close()
}

func (l *logger) line(stream, text string) {
	mark := "P"
	if t, whole := strings.CutSuffix(text, "\n"); whole {
		mark, text = "F", t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n, _ := fmt.Fprintf(l.f, "%s %s %s %s\n", time.Now().UTC().Format(logTime), stream, mark, text)
	if l.size += int64(n); l.size < maxLog {
		return
	}
	l.f.Close()
	_ = os.Rename(filepath.Join(l.dir, logName), filepath.Join(l.dir, oldLogName))
	_ = l.open()
}

const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// LogLine is a line of the log.
type LogLine struct {
	Time   time.Time
	Stream string // stdout or stderr
	Text   string // with its newline, unless it goes on
}

// LogOptions say what Logs gives.
type LogOptions struct {
	Follow bool      // go on until the container has ended
	Since  time.Time // nothing older
	Tail   int       // only the last lines; negative: all
}

// Logs gives the lines of the log to show.
func (c *Container) Logs(o LogOptions, show func(LogLine) error) error {
	st, err := c.State()
	if err != nil {
		return err
	}
	if st.Started.IsZero() && st.Finished.IsZero() {
		return fmt.Errorf("container %s was never started", st.Name)
	}
	if !st.Logged && !st.Started.IsZero() {
		return fmt.Errorf("container %s ran in the foreground: its output went to the caller and was not kept", st.Name)
	}
	f, err := os.Open(filepath.Join(c.Dir(), logName))
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	if err := c.oldLines(f, o, show); err != nil || !o.Follow {
		return err
	}
	in := bufio.NewReader(f)
	part := ""
	for {
		st, stateErr := c.State() // before the read: what comes last isn't missed
		for {
			text, err := in.ReadString('\n')
			part += text
			if err != nil {
				break
			}
			if l, ok := parseLine(part); ok && !l.Time.Before(o.Since) {
				if err := show(l); err != nil {
					return err
				}
			}
			part = ""
		}
		if next, err := os.Open(filepath.Join(c.Dir(), logName)); err == nil {
			if sameFile(f, next) {
				next.Close()
			} else { // it was rotated, and we have all of the old one
				f.Close()
				f, part = next, ""
				in.Reset(f)
				continue
			}
		}
		if stateErr != nil || !st.active() && !st.Monitor.alive() {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// oldLines shows what is in the log now, and leaves current at its end.
func (c *Container) oldLines(current *os.File, o LogOptions, show func(LogLine) error) error {
	var lines []LogLine
	read := func(r io.Reader) {
		in := bufio.NewScanner(r)
		in.Buffer(nil, 4*maxLogLine)
		for in.Scan() {
			if l, ok := parseLine(in.Text()); ok && !l.Time.Before(o.Since) {
				lines = append(lines, l)
			}
		}
	}
	if old, err := os.Open(filepath.Join(c.Dir(), oldLogName)); err == nil {
		read(old)
		old.Close()
	}
	read(current)
	if o.Tail >= 0 && len(lines) > o.Tail {
		lines = lines[len(lines)-o.Tail:]
	}
	for _, l := range lines {
		if err := show(l); err != nil {
			return err
		}
	}
	return nil
}

func parseLine(text string) (LogLine, bool) {
	f := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 4)
	if len(f) != 4 {
		return LogLine{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, f[0])
	if f[2] == "F" {
		f[3] += "\n"
	}
	return LogLine{t, f[1], f[3]}, err == nil
}
