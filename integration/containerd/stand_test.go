package containerd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/integration/harness"
	"golang.org/x/sys/unix"
)

// stand is a containerd with our daemon beside it.
type stand struct {
	t                    *testing.T
	user                 *harness.User
	bin                  string // containerd's programs
	daemon               string // ours
	dir                  string
	release              release
	inside               []string                  // the command that enters the namespaces of a rootless containerd
	more                 string                    // configuration of containerd beyond what is printed
	edit                 func(block string) string // what is printed is not what is in force
	ns                   string                    // containerd's namespace, when it isn't the stand's own
	daemonP, containerdP *process
	logLevel             string // of our daemon; else debug
	metrics              string // where our daemon has its metrics, when it shall
	peerPID              int    // of the snapshotter that ours is measured beside
}

// process is a daemon of the stand.
type process struct {
	cmd *exec.Cmd
	log string
}

func newStand(t *testing.T, b brought, set ...func(*stand)) *stand {
	t.Helper()
	return newStandOf(t, needs(t), b, set...)
}

func newStandOf(t *testing.T, u *harness.User, b brought, set ...func(*stand)) *stand {
	t.Helper()
	s := &stand{t: t, user: u, release: b.release, bin: b.dir(t), daemon: harness.Build(t, "./cmd/containerd-plyfs-grpc"), dir: u.Dir(t)}
	for _, fn := range set {
		fn(s)
	}
	t.Cleanup(s.end)
	s.startDaemon()
	s.startContainerd()
	if out, err := s.command(s.daemon, append([]string{"doctor"}, s.flags()...)...).CombinedOutput(); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	return s
}

func (s *stand) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stand) namespace() string {
	if s.ns != "" {
		return s.ns
	}
	return strings.ReplaceAll(strings.TrimPrefix(s.dir, "/var/tmp/"), "/", "-")
}

func (s *stand) flags() []string {
	return []string{"--address", s.path("p.sock"), "--root", s.path("plyfs"), "--state", s.path("p"), "--containerd", s.path("c.sock")}
}

// command is one of the user's, with the programs of this stand first.
func (s *stand) command(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	line := append(slices.Clone(s.inside), append([]string{name}, args...)...)
	cmd := s.user.Command(s.t, line[0], line[1:]...)
	for i, kv := range cmd.Env {
		if strings.HasPrefix(kv, "PATH=") {
			cmd.Env[i] = "PATH=" + s.bin + ":" + kv[len("PATH="):]
		}
	}
	// runc keeps its state in /run by namespace and name.
	cmd.Env = append(cmd.Env, "CONTAINERD_NAMESPACE="+s.namespace())
	return cmd
}

// start starts a daemon that writes to a log.
func (s *stand) start(name string, cmd *exec.Cmd) *process {
	s.t.Helper()
	p := &process{cmd: cmd, log: s.path(name + ".log")}
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(s.t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err = errors.New("not started")
	started := make(chan struct{})
	starter() <- func() { err = cmd.Start(); close(started) }
	<-started
	must(s.t, err)
	return p
}

// starter runs what starts daemons on a thread that stays: a daemon dies with
// the thread that has started it, and containerd's mounts end threads.
var starter = sync.OnceValue(func() chan func() {
	ch := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range ch {
			fn()
		}
	}()
	return ch
})

// end ends a daemon and waits for it.
func (p *process) end(sig syscall.Signal) {
	if p != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(sig)
		_ = p.cmd.Wait()
	}
}

func (s *stand) startDaemon() {
	s.t.Helper()
	_ = os.Remove(s.path("p.sock"))
	s.daemonP = s.start("plyfs", s.command(s.daemon, append(s.flags(), "--log-level", cmp.Or(s.logLevel, "debug"), "--metrics", s.metrics)...))
	s.eventually("our daemon serves", func() bool { _, err := os.Stat(s.path("p.sock")); return err == nil })
}

func (s *stand) startContainerd() {
	s.t.Helper()
	block, err := s.command(s.daemon, append([]string{"config", "containerd"}, s.flags()...)...).Output()
	must(s.t, err)
	// Keys of the file itself come before all tables.
	if s.edit != nil {
		block = []byte(s.edit(string(block)))
	}
	text := fmt.Sprintf("root = %q\nstate = %q\n%s\n[grpc]\n  address = %q\n", s.path("root"), s.path("c"), block, s.path("c.sock"))
	if s.release == two {
		// Layers are unpacked beside each other and put together afterwards.
		text += s.more + "[plugins.\"io.containerd.transfer.v1.local\"]\n  max_concurrent_unpacks = 4\n"
	}
	must(s.t, os.WriteFile(s.path("config.toml"), []byte(text), 0o644))
	s.containerdP = s.start("containerd", s.command(s.bin+"/containerd", "--config", s.path("config.toml")))
	s.eventually("containerd serves", func() bool {
		return s.command(s.bin+"/ctr", "-a", s.path("c.sock"), "version").Run() == nil
	})
}

// end stops everything; what is left is for the harness to find.
func (s *stand) end() {
	if s.t.Failed() {
		for _, p := range []*process{s.daemonP, s.containerdP} {
			if p == nil {
				continue
			}
			text, _ := os.ReadFile(p.log)
			s.t.Logf("%s:\n%s", p.log, lastLines(string(text), 30))
		}
	}
	if s.t.Failed() {
		for id := range strings.FieldsSeq(s.quiet("task", "ls", "-q")) {
			s.quiet("task", "kill", "-s", "KILL", id)
			time.Sleep(200 * time.Millisecond)
			s.quiet("task", "rm", "-f", id)
		}
	}
	s.containerdP.end(unix.SIGTERM)
	_ = os.Remove("/run/containerd/runc/" + s.namespace())
	s.daemonP.end(unix.SIGTERM)
	points, _ := filepath.Glob(s.path("p/m/*"))
	for _, p := range points {
		if !s.t.Failed() {
			s.t.Errorf("a mount point is left: %s", p)
		}
		_ = unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
}

// quiet is ctr for a stand that has failed already.
func (s *stand) quiet(args ...string) string {
	out, _ := s.tryCtr(args...)
	return out
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (s *stand) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

// ctr runs ctr and gives what it printed.
func (s *stand) ctr(args ...string) string {
	s.t.Helper()
	out, err := s.tryCtr(args...)
	if err != nil {
		s.t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tryCtr gives the standard output; the other one is in the error.
func (s *stand) tryCtr(args ...string) (string, error) {
	s.t.Helper()
	if s.inside != nil && args[0] == "run" { // there is no cgroup that is the user's
		args = append([]string{"run", "--cgroup", "", "--cpu-shares", "0"}, args[1:]...)
	}
	cmd := s.command(s.bin+"/ctr", append([]string{"-a", s.path("c.sock")}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, lastLines(errs.String(), 3))
	}
	return out.String(), err
}

// mounted mounts a view of a snapshot as ctr says, for fn.
func (s *stand) mounted(snapshotter, key, parent string, fn func(dir string)) {
	s.t.Helper()
	dir := s.path("view-" + snapshotter)
	must(s.t, os.MkdirAll(dir, 0o755))
	// Nothing refers to a view of ctr's: a collection may take it at any moment
	// before it is labelled as a root, also from under the mount.
	for try := 1; ; try++ {
		s.ctr("snapshot", "--snapshotter", snapshotter, "view", key, parent)
		script := ""
		_, err := s.tryCtr("snapshot", "--snapshotter", snapshotter, "label", key, "containerd.io/gc.root=test")
		if err == nil {
			script, err = s.tryCtr("snapshot", "--snapshotter", snapshotter, "mounts", dir, key)
		}
		var out []byte
		if err == nil {
			if out, err = s.command("sh", "-euc", script).CombinedOutput(); err == nil {
				break
			}
		}
		_, kept := s.tryCtr("snapshot", "--snapshotter", snapshotter, "info", key)
		if kept == nil || try == 5 {
			s.t.Fatalf("mounts %s: %v\n%s\n%s", key, err, script, out)
		}
	}
	defer func() {
		if out, err := s.command("umount", dir).CombinedOutput(); err != nil {
			s.t.Fatalf("umount: %v\n%s", err, out)
		}
		s.ctr("snapshot", "--snapshotter", snapshotter, "rm", key)
	}()
	fn(dir)
}
