package counts

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
	"github.com/plyfs/plyfs/integration/harness"
)

// clientEnv makes the test binary a client: it does what it is told on stdin.
const clientEnv = "PLYFS_COUNTS_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		client()
		return
	}
	syscall.Umask(0) // as the server has it
	harness.Main(m)
}

// mount is a served union with a client beside it.
type mount struct {
	*testing.T
	dir    string // holds lower, upper, work and mnt
	server *fusefs.Server
	in     *os.File
	out    *bufio.Reader
}

// newMount mounts an upper over a lower that fill has made.
func newMount(t *testing.T, fill func(lower string)) *mount {
	t.Helper()
	return newMountIO(t, layer.IOCached, fill)
}

func newMountIO(t *testing.T, io layer.IOMode, fill func(lower string)) *mount {
	t.Helper()
	require.Root(t)
	require.FUSE(t)
	m := &mount{T: t, dir: t.TempDir()}
	for _, d := range []string{"lower", "upper", "work", "mnt"} {
		if err := os.Mkdir(m.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if fill != nil {
		fill(m.path("lower"))
	}
	o := &layer.Options{Lower: []string{m.path("lower")}, Upper: m.path("upper"), Work: m.path("work"), IO: io}
	stack, err := layer.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := union.New(stack, o)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := fusefs.Mount(m.path("mnt"), o, false)
	if err != nil {
		t.Fatal(err)
	}
	m.server = fusefs.NewServer(fd, fs, fusefs.Config{Options: o})
	ended := make(chan error, 1)
	go func() { ended <- m.server.Serve() }()
	t.Cleanup(func() {
		if err := fusefs.Unmount(m.path("mnt")); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.server.WaitReady(); err != nil {
		t.Fatal(err)
	}
	m.startClient()
	return m
}

func (m *mount) path(p string) string { return filepath.Join(m.dir, p) }

func (m *mount) startClient() {
	m.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), clientEnv+"="+m.path("mnt"), "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		m.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.in, m.out = in.(*os.File), bufio.NewReader(out)
	m.Cleanup(func() {
		m.in.Close()
		_ = cmd.Wait()
	})
	m.do("nothing")
}

// do lets the client do one thing.
func (m *mount) do(what ...string) {
	m.Helper()
	fmt.Fprintln(m.in, strings.Join(what, "\t"))
	line, err := m.out.ReadString('\n')
	if err != nil || line != "ok\n" {
		m.Fatalf("%v: %q %v", what, line, err)
	}
}

// tool runs a program in the mount.
func (m *mount) tool(name string, arg ...string) {
	m.Helper()
	cmd := exec.Command(name, arg...)
	cmd.Dir = m.path("mnt")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%s %v: %v\n%s", name, arg, err, out)
	}
}

// quiet waits until no more messages come: some are sent behind a program's
// back.
func (m *mount) quiet() map[string]uint64 {
	last := m.server.Counts()
	for still := 0; still < 5; {
		time.Sleep(10 * time.Millisecond)
		now := m.server.Counts()
		if maps.Equal(now, last) {
			still++
		} else {
			still = 0
		}
		last = now
	}
	return last
}

// count is the messages that fn makes the kernel send. An INTERRUPT is a signal
// of the client's runtime and no effect of what it does.
func (m *mount) count(fn func()) counted {
	m.Helper()
	before := m.quiet()
	fn()
	c := counted{}
	for k, n := range m.quiet() {
		if n > before[k] && k != "INTERRUPT" {
			c[k] = int(n - before[k])
		}
	}
	return c
}

// counted is a number of messages by kind.
type counted map[string]int

func (c counted) total() (n int) {
	for _, k := range c {
		n += k
	}
	return n
}

func (c counted) String() string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		s = append(s, fmt.Sprintf("%s %d", k, c[k]))
	}
	return strings.Join(s, ", ")
}

// warm is atMost for what is done over and over: the best of three, since others
// may make the machine forget what it had cached.
func (m *mount) warm(what string, fn func(), want counted) {
	m.Helper()
	var got counted
	for range 3 {
		got = m.count(fn)
		within := true
		for k, n := range got {
			within = within && n <= want[k]
		}
		if within {
			break
		}
	}
	m.atMost(what, got, want)
}

// atMost checks every kind against its bound; kinds without one must not come.
func (m *mount) atMost(what string, got, want counted) {
	m.Helper()
	for k, n := range got {
		if n > want[k] {
			m.Errorf("%s: %d %s, at most %d (all: %v)", what, n, k, want[k], got)
		}
	}
	m.Logf("%s: %d messages: %v", what, got.total(), got)
}
