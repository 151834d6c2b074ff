package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// base is where this test process keeps its files; runVar carries it to every
// process that the tests start.
var base string

const runVar = "PLYFS_TEST_BASE"

// Main runs the tests of a package and fails it when they leave a mount or a
// process behind. It doesn't return.
//
// As root the tests run in a mount namespace of their own: whoever makes one
// elsewhere meanwhile takes copies of the mounts that he sees along, and those
// keep a server alive that we have unmounted.
func Main(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(ownNamespace) == "" {
		os.Exit(inOwnNamespace())
	}
	if err := makeBase(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
	code := m.Run()
	if left := leftovers(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "harness: the tests left behind:\n  %s\n", strings.Join(left, "\n  "))
		code = 1
	}
	if os.Getenv("PLYFS_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "harness: kept", base)
	} else if err := removeTree(base); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		code = 1
	}
	os.Exit(code)
}

const ownNamespace = "PLYFS_TEST_OWN_NAMESPACE"

// inOwnNamespace runs this test binary again and gives its exit code.
func inOwnNamespace() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "slave", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), ownNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	return 0
}

// makeBase makes the directory: not in /tmp, which may be a tmpfs without user
// xattrs, and with a short name, because podman puts sockets 80 bytes deeper,
// and waits 20 s for each container whose socket's path is over 107 bytes.
func makeBase() error {
	for i := 0; ; i++ {
		base = fmt.Sprintf("/var/tmp/ply%d", os.Getpid()+i*10_000_000)
		if err := os.Mkdir(base, 0o711); !errors.Is(err, os.ErrExist) {
			return err
		}
	}
}

// leftovers names the mounts and processes that are still there, and ends
// them. A server may take a moment to see that its mount is gone.
func leftovers() []string {
	var left []string
	for _, m := range mountsBelow(base) {
		left = append(left, "mount "+m)
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
		_ = exec.Command("fusermount3", "-uzq", m).Run()
	}
	deadline := time.Now().Add(5 * time.Second)
	for len(processes()) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	for pid, cmdline := range processes() {
		left = append(left, fmt.Sprintf("process %d: %s", pid, cmdline))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return left
}

// mountsBelow lists the mount points below dir, innermost first.
func mountsBelow(dir string) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			found = append([]string{f[4]}, found...)
		}
	}
	return found
}

// processes finds what this run started and what works on its files: by
// environment, or by command line for programs that clean theirs (conmon).
func processes() map[int]string {
	found := map[int]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(cmdline) == 0 { // gone, a zombie, or a kernel thread
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		if bytes.Contains(env, []byte(runVar+"="+base+"\x00")) || bytes.Contains(cmdline, []byte(base)) {
			found[pid] = string(bytes.ReplaceAll(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0}, []byte{' '}))
		}
	}
	return found
}

// removeTree deletes a directory of the tests, never anything through a mount.
func removeTree(dir string) error {
	if live := mountsBelow(dir); len(live) > 0 {
		return fmt.Errorf("%s is not deleted: %s is still mounted", dir, live[0])
	}
	args := []string{"rm", "-rf", "--one-file-system", dir}
	if os.Geteuid() != 0 { // files of subordinate ids are ours only in a namespace
		args = append([]string{"unshare", "--user", "--map-root-user", "--map-auto"}, args...)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("deleting %s: %v: %s", dir, err, out)
	}
	return nil
}
