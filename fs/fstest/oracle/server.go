package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// The server process. It is the test's own program, started again with
// ServerEnv set, and takes one order per line on its standard input:
//
//	test                                server
//	--------------------------------    ------------------------------------
//	{"mount":true,"dir":D,"options":O}  opens the layers, mounts D, serves
//	              <-------------------- {} or {"err":"why not"}
//	{"dir":D}                           unmounts D, waits till it is served
//	              <-------------------- to the end, tidies: {} or {"err":…}
//
// It ends with its input. Its standard error is the test's to keep: a crash
// tells its stack there, and so does SIGQUIT when something hangs.

// ServerEnv makes a program that calls ServeIfAsked the server.
const ServerEnv = "_PLYFS_ORACLE_SERVER"

// countEnv has it count the failpoints that it passes.
const countEnv = "_PLYFS_ORACLE_COUNT"

type order struct {
	Mount   bool   `json:"mount"`
	Dir     string `json:"dir"`
	Options string `json:"options"`
	UserNS  bool   `json:"userns"`
}

type answer struct {
	Err    string         `json:"err"`
	Passed map[string]int `json:"passed"` // failpoints, of the mount that ended
}

// ServeIfAsked is the server process when it is to be one, and then does not
// return. TestMain calls it first.
func ServeIfAsked() {
	if os.Getenv(ServerEnv) == "" {
		return
	}
	unix.Umask(0) // modes come with their callers' umask
	h := server{mounts: map[string]*served{}}
	if err := h.run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// server is the state of the server process.
type server struct {
	mounts map[string]*served
	passed func() map[string]int // see fail.Record; nil unless they are counted
}

// served is one mount. done gets what became of it.
type served struct {
	fs   *union.FS
	done chan error
}

func (h *server) run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	reply := json.NewEncoder(out)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var a answer
		if err := h.obey(&o); err != nil {
			a.Err = err.Error()
		}
		if os.Getenv(countEnv) != "" && !o.Mount {
			a.Passed = h.passed()
		}
		if err := reply.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (h *server) obey(o *order) error {
	if o.Mount {
		return h.mount(o)
	}
	return h.unmount(o.Dir)
}

func (h *server) mount(o *order) error {
	if os.Getenv(countEnv) != "" {
		h.passed = fail.Record()
	}
	opts, _, err := layer.Parse([]string{o.Options}, false)
	if err != nil {
		return err
	}
	stack, err := layer.Open(opts)
	if err != nil {
		return err
	}
	fs, err := union.New(stack, opts)
	if err != nil {
		return errors.Join(err, stack.Close())
	}
	fd, err := fusefs.Mount(o.Dir, opts, o.UserNS)
	if err != nil {
		return errors.Join(err, fs.Close())
	}
	s := fusefs.NewServer(fd, fs, fusefs.Config{Options: opts, UserNS: o.UserNS, Trace: traceTo()})
	m := &served{fs: fs, done: make(chan error, 1)}
	go func() { m.done <- s.Serve() }()
	if err := s.WaitReady(); err != nil {
		return errors.Join(err, fusefs.Unmount(o.Dir), fs.Close())
	}
	h.mounts[o.Dir] = m
	return nil
}

// traceTo is the standard error when PLYFS_TRACE asks for every request.
func traceTo() io.Writer {
	if os.Getenv("PLYFS_TRACE") == "" {
		return nil
	}
	return os.Stderr
}

func (h *server) unmount(dir string) error {
	m := h.mounts[dir]
	if m == nil {
		return fmt.Errorf("nothing is mounted on %s", dir)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		return err
	}
	delete(h.mounts, dir)
	return errors.Join(<-m.done, m.fs.Close())
}

// optionText is the mount option text of args.
func optionText(a Args) string {
	o := []string{"lowerdir=" + strings.Join(a.Lower, ":"), "upperdir=" + a.Upper, "workdir=" + a.Work, "allow_other", "dev", "suid"}
	if a.UserXattr {
		o = append(o, "userxattr")
	}
	if a.Redirect {
		o = append(o, "redirect_dir=on")
	}
	if a.Metacopy {
		o = append(o, "metacopy=on")
	}
	if a.Extra != "" {
		o = append(o, a.Extra)
	}
	return strings.Join(o, ",")
}
