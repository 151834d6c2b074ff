package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestBench runs the whole comparison once: a benchmark that nobody runs rots.
func TestBench(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.UserNS(t)
	require.SubIDs(t)
	for _, tool := range []string{"crun", "bwrap", "busybox"} {
		require.Tool(t, tool)
	}
	c, err := parse([]string{"-plyfs", "plyfs=" + harness.Binary(t), "-rounds", "1", "-user", require.User(t).Username})
	if err != nil {
		t.Fatal(err)
	}
	hideUnified()
	r, err := run(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.table())
	for _, c := range r.commands {
		if len(r.values[c.name]) != 1 {
			t.Errorf("%s was not measured", c.name)
		}
		if m := r.memory[c.name]; c.sleeping != nil && (m.peak == 0 || m.settled == 0) {
			t.Errorf("%s: memory was not measured: %+v", c.name, m)
		}
	}
}

// start is what a start consists of: each of them costs about a millisecond,
// a sync many, a file a tenth.
type start struct {
	programs  []string // in the order of their names
	processes int      // beside the first
	syncs     int
	files     int // and directories of the store that are made, or opened to be made
}

// TestSteps counts what the start and the end of a container and of a sandbox
// consist of. Who adds a step must have it here, and a reason.
func TestSteps(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.UserNS(t)
	require.SubIDs(t)
	require.Tool(t, "strace")
	s, err := newStand(require.User(t).Username)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	bin := harness.Binary(t)
	run := []string{bin, "run", "--rm", "--net", "none", "--layer", s.root}
	for _, c := range []struct {
		name string
		args []string
		want start
	}{
		{
			"run", append(slices.Clone(run), "/bin/true"),
			start{[]string{"/bin/true", "newgidmap", "newuidmap", "plyfs", "stage"}, 4, 0, 8},
		},
		{
			"run with one id", append(slices.Clone(run), "--userns", "single", "/bin/true"),
			start{[]string{"/bin/true", "plyfs", "stage"}, 2, 0, 8},
		},
		{
			"try",
			[]string{bin, "try", "--", "true"},
			start{[]string{"init", "plyfs", "stage", "true"}, 3, 0, 12},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := traceStart(t, s, c.args)
			if !slices.Equal(got.programs, c.want.programs) || got.processes != c.want.processes || got.syncs != c.want.syncs || got.files != c.want.files {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// traceStart runs a command of the user's under strace.
func traceStart(t *testing.T, s *stand, args []string) (got start) {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "trace")
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.command(append([]string{
		"strace", "-ff", "-qq", "-s", "200", "-e", "signal=none", "-e", "trace=execve,execveat,clone,clone3,fork,vfork,openat,mkdirat,fsync,fdatasync,syncfs,sync",
		"-o", filepath.Join(dir, "t"), "-u", require.User(t).Username, "--",
	}, args...))
	cmd.SysProcAttr = nil // root's strace keeps what is setuid as it is
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "t.*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			got.count(strings.TrimSpace(line))
		}
	}
	slices.Sort(got.programs)
	return got
}

// names of plyfs's own processes, by their first argument.
var roles = map[string]string{"plyfs-root": "stage", "plyfs-init": "init"}

func (s *start) count(line string) {
	call, rest, _ := strings.Cut(line, "(")
	switch call {
	case "execve", "execveat":
		if !strings.HasSuffix(line, " = 0") {
			return // not there
		}
		_, args, _ := strings.Cut(rest, "[\"")
		name, _, _ := strings.Cut(args, "\"")
		if role, ok := roles[name]; ok {
			name = role
		} else if strings.HasSuffix(name, "/plyfs") {
			name = "plyfs"
		}
		s.programs = append(s.programs, name)
	case "openat", "mkdirat":
		if strings.Contains(line, "/plyfs/containers/") && (call == "mkdirat" || strings.Contains(line, "O_CREAT")) && !strings.Contains(line, " = -1") {
			s.files++
		}
	case "fsync", "fdatasync", "syncfs", "sync":
		s.syncs++
	default:
		_, pid, _ := strings.Cut(rest, " = ") // "?": a signal has interrupted it, and it is called again
		if n, err := strconv.Atoi(pid); err == nil && n > 0 && !strings.Contains(rest, "CLONE_THREAD") {
			s.processes++
		}
	}
}

// heavy are packages that fill tables before main, or bring many that do. All
// of the program is initialised three times before a payload starts.
var heavy = []string{
	"encoding/gob", "encoding/xml", "encoding/asn1", "net/http", "crypto/tls", "crypto/x509", "regexp", "html/template", "go/ast", "mime",
	"google.golang.org/", "github.com/containerd/", "golang.org/x/text/", "golang.org/x/net/", "gopkg.in/", "go.opentelemetry.io/",
}

// foreign are the modules that were found cheap enough.
var foreign = []string{
	"golang.org/x/sys/", "github.com/moby/sys/user", "github.com/moby/sys/mountinfo", "github.com/moby/profiles/seccomp", "github.com/opencontainers/runtime-spec/",
	"github.com/BurntSushi/toml", "github.com/rogpeppe/go-internal/diff",
}

// TestLinked lists what is linked into run, try and the server of a root, which
// are one program.
func TestLinked(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "github.com/plyfs/plyfs/cmd/plyfs")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	within := func(p string, list []string) bool {
		return slices.ContainsFunc(list, func(of string) bool {
			return p == of || strings.HasPrefix(p, strings.TrimSuffix(of, "/")+"/")
		})
	}
	for _, p := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(p, "/")
		switch {
		case within(p, heavy):
			t.Errorf("%s is linked into the start of every container: do without it, or put what needs it into a program of its own", p)
		case strings.Contains(first, ".") && !strings.HasPrefix(p, "github.com/plyfs/plyfs/") && !within(p, foreign):
			t.Errorf("%s is new in the start of every container: measure it (GODEBUG=inittrace=1), then add it to the list", p)
		}
	}
}
