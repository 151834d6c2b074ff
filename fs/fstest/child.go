package fstest

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// The environment that tells a copy of the test binary what it is for.
const (
	childEnv = "PLYFS_FSTEST_CHILD" // the variant whose cases it runs
	stageEnv = "PLYFS_FSTEST_STAGE" // what it has to do before; see Stage
)

func isChild(v *Variant) bool { return os.Getenv(childEnv) == v.Name }

// runAs runs the calling test in another process, as the user and in the
// namespace that the variant asks for, and repeats its results here.
//
//	this process (root)
//	  └─ as the test user: Stage("userns") makes the namespace and writes its maps
//	       └─ in the namespace, ids not yet mapped: Stage("wait") waits for them, then
//	            executes itself again, which gives it its capabilities
func runAs(t *testing.T, v *Variant) {
	u := require.User(t)
	env := append(os.Environ(), childEnv+"="+v.Name, "HOME="+u.HomeDir, "USER="+u.Username)
	if p, err := plyfsBinary(); err == nil && v.Kind == Plyfs {
		env = append(env, "PLYFS_BIN="+p)
	}
	switch v.Who {
	case NSRoot:
		env = append(env, stageEnv+"=userns")
	case Sole:
		env = append(env, stageEnv+"=sole")
	}
	cmd := exec.Command("/proc/self/exe", testFlags(t.Name())...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, u), Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	repeat(t, out)
	if err != nil && !t.Failed() {
		t.Errorf("%s as %s: %v\n%s", v.Name, u.Username, err, tail(out))
	}
}

func credential(t *testing.T, u *user.User) *syscall.Credential {
	t.Helper()
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("user %s has odd ids %s:%s", u.Username, u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// testFlags run exactly the named test; deeper elements of this process's
// own -test.run still choose below it.
func testFlags(name string) []string {
	elems := strings.Split(name, "/")
	depth := len(elems)
	for i, e := range elems {
		elems[i] = "^" + regexp.QuoteMeta(e) + "$"
	}
	if f := flag.Lookup("test.run"); f != nil {
		if own := strings.Split(f.Value.String(), "/"); len(own) > depth {
			elems = append(elems, own[depth:]...)
		}
	}
	args := []string{"-test.v", "-test.run=" + strings.Join(elems, "/")}
	if f := flag.Lookup("test.timeout"); f != nil && f.Value.String() != "0s" {
		args = append(args, "-test.timeout="+f.Value.String())
	}
	return args
}

// Stage does what a copy of the test binary was started for before its
// tests; TestMain calls it first. It comes back when the tests are to run.
func Stage() {
	stage := os.Getenv(stageEnv)
	os.Unsetenv(stageEnv)
	var err error
	switch stage {
	case "":
		if os.Geteuid() != 0 || os.Getenv(childEnv) != "" {
			return
		}
		var code int
		if code, err = inMountNS(); err == nil {
			os.Exit(code)
		}
	case "userns", "sole":
		var code int
		if code, err = inUserNS(stage == "sole"); err == nil {
			os.Exit(code)
		}
	case "wait":
		err = waitForMaps()
	case "private":
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err == nil {
			return
		}
	default:
		if run := stages[stage]; run != nil {
			os.Exit(run())
		}
		err = fmt.Errorf("%s=%s is no stage", stageEnv, stage)
	}
	fmt.Fprintln(os.Stderr, "fstest:", err)
	os.Exit(1)
}

// stages are those of cases that need a process of their own.
var stages = map[string]func() int{}

// inMountNS runs this binary again in a mount namespace of its own: one that
// any other process makes meanwhile would hold a copy of our mounts, and a
// FUSE server lives as long as the last of them.
func inMountNS() (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), stageEnv+"=private")
	return exitCode(cmd.Run())
}

// inUserNS runs this binary again in a new user and mount namespace.
func inUserNS(sole bool) (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.SysProcAttr = attr
	if sole {
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		cmd.Env = append(os.Environ(), stageEnv+"=private")
		return exitCode(cmd.Run())
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer w.Close()
	cmd.Env = append(os.Environ(), stageEnv+"=wait")
	cmd.Stdin = r
	err = cmd.Start()
	r.Close()
	if err != nil {
		return 0, err
	}
	if err = writeMaps(cmd.Process.Pid); err == nil {
		_, err = w.Write([]byte("x"))
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return 0, err
	}
	return exitCode(cmd.Wait())
}

func exitCode(err error) (int, error) {
	var ee *exec.ExitError
	if errors.As(err, &ee) && ee.Exited() {
		return ee.ExitCode(), nil
	}
	return 0, err
}

// writeMaps maps id 0 to the user and 1… to its first subordinate range.
func writeMaps(pid int) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	for _, m := range []struct{ tool, own, file string }{
		{"newuidmap", u.Uid, "/etc/subuid"}, {"newgidmap", u.Gid, "/etc/subgid"},
	} {
		b, err := os.ReadFile(m.file)
		if err != nil {
			return err
		}
		sub := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(u.Username) + `:(\d+):(\d+)$`).FindSubmatch(b)
		if sub == nil {
			return fmt.Errorf("%s has no line for %s", m.file, u.Username)
		}
		out, err := exec.Command(m.tool, strconv.Itoa(pid), "0", m.own, "1", "1", string(sub[1]), string(sub[2])).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w %s", m.tool, err, out)
		}
	}
	return nil
}

// waitForMaps waits until the parent has written the maps and executes the
// binary again as root of the namespace.
func waitForMaps() error {
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("waiting for the id maps: %w", err)
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), stageEnv+"=private"))
}

// result is one test of the other process.
type result struct {
	status string // PASS, FAIL, SKIP
	log    bytes.Buffer
	subs   []string
	subOf  map[string]*result
}

var (
	resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	switchLine = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE)\s+(\S+)`)
)

// repeat makes the results of the other process results of this one.
func repeat(t *testing.T, out []byte) {
	parseResults(t.Name(), bytes.NewReader(out)).replay(t)
}

// parseResults reads the output of a test binary, which ran with -test.v, as
// far as it concerns the test called top.
func parseResults(top string, out io.Reader) *result {
	root := &result{subOf: map[string]*result{}}
	at := root
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		line := sc.Text()
		if m := switchLine.FindStringSubmatch(line); m != nil {
			at = root.find(top, m[1])
		} else if m := resultLine.FindStringSubmatch(line); m != nil {
			at = root.find(top, m[2])
			at.status = m[1]
		} else {
			fmt.Fprintln(&at.log, line)
		}
	}
	return root
}

func (r *result) find(top, name string) *result {
	rel, ok := strings.CutPrefix(name, top+"/")
	if !ok {
		return r
	}
	for _, e := range strings.Split(rel, "/") {
		sub := r.subOf[e]
		if sub == nil {
			sub = &result{subOf: map[string]*result{}}
			r.subOf[e] = sub
			r.subs = append(r.subs, e)
		}
		r = sub
	}
	return r
}

func (r *result) replay(t *testing.T) {
	for _, name := range r.subs {
		t.Run(name, func(t *testing.T) { r.subOf[name].replay(t) })
	}
	text := strings.TrimRight(r.log.String(), "\n")
	switch r.status {
	case "SKIP":
		t.Skip(text)
	case "FAIL":
		t.Error(text)
	case "":
		if text != "" && len(r.subs) == 0 {
			t.Error("did not end:\n" + text)
		}
	}
}

func tail(b []byte) string {
	const most = 8 << 10
	return string(b[max(0, len(b)-most):])
}
