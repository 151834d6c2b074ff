package load

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// soaking says that there is time.
func soaking() bool { return os.Getenv("PLYFS_SOAK") != "" }

// onlySoak ends a test that takes minutes.
func onlySoak(t *testing.T) {
	if !soaking() {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
}

// server is one in the foreground: a process that we have begun.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	words bytes.Buffer
	mnt   string
}

// serve mounts a stack with a binary; before is shell text that the server's process
// runs first.
func serve(t *testing.T, u *harness.User, binary, before string, stack harness.Stack, mnt string, env ...string) *server {
	t.Helper()
	s := &server{t: t, mnt: mnt}
	s.cmd = patient(u.Command(t, "bash", "-euc", before+"\nexec "+binary+" mount -f -o "+stack.Options()+" "+mnt))
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.words, &s.words
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = exec.Command("umount", mnt).Run()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server: %v\n%s", err, s.words.String())
			}
		case <-time.After(time.Minute):
			_ = s.cmd.Process.Signal(syscall.SIGQUIT)
			t.Errorf("the server goes on after the unmount: %v\n%s", <-ended, s.words.String())
		}
	})
	for !mounted(mnt) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server: %v\n%s", err, s.words.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return s
}

// patient is a command without the time limit of tests: a soak takes longer.
func patient(c *exec.Cmd) *exec.Cmd {
	cmd := exec.Command(c.Path, c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = c.Dir, c.Env, c.SysProcAttr
	return cmd
}

func mounted(mnt string) bool {
	var here, up unix.Stat_t
	return unix.Stat(mnt, &here) == nil && unix.Stat(filepath.Dir(mnt), &up) == nil && here.Dev != up.Dev
}

// alive fails when the server's process is gone or is another one.
func (s *server) alive() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.Signal(0)); err != nil {
		s.t.Errorf("the server: %v\n%s", err, s.words.String())
	}
}

// memory is a value of the server's /proc/PID/status in KB.
func (s *server) memory(field string) int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == field+":" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	s.t.Fatalf("no %s", field)
	return 0
}

// mixed has so many processes of the mixed load (integration/keeper/load) work in a
// mount for a time: what they find wrong fails the test.
type mixed struct {
	u     *harness.User
	prog  string
	count int
}

func newMixed(t *testing.T, u *harness.User, count int, lower string) *mixed {
	t.Helper()
	m := &mixed{u, harness.Build(t, "./integration/keeper/load"), count}
	u.Run(t, `mkdir $D/w0; $LOAD -lower $D/w0; for ((i = 1; i < $N; i++)); do cp -a $D/w0 $D/w$i; done`,
		"D="+lower, "LOAD="+m.prog, fmt.Sprint("N=", count))
	return m
}

func (m *mixed) run(t *testing.T, mnt string, length time.Duration) {
	t.Helper()
	type process struct {
		cmd *exec.Cmd
		out bytes.Buffer
	}
	all := make([]*process, m.count)
	for i := range all {
		p := &process{cmd: patient(m.u.Command(t, m.prog, "-for", length.String(), "-seed", strconv.Itoa(i+1), "-slow", "1h", filepath.Join(mnt, fmt.Sprint("w", i))))}
		p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all[i] = p
	}
	ops := 0
	for i, p := range all {
		err := p.cmd.Wait()
		n, ok := strings.CutPrefix(strings.TrimSpace(p.out.String()), "ops ")
		k, nerr := strconv.Atoi(n)
		if err != nil || !ok || nerr != nil {
			t.Errorf("process %d of the load: %v\n%s", i, err, p.out.String())
		}
		ops += k
	}
	t.Logf("%d processes: %d operations in %v", m.count, ops, length)
	if ops < m.count {
		t.Errorf("%d operations are too few", ops)
	}
}
