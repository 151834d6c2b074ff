package main

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

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// bench is a stack of layers below a fresh directory, which is the working
// directory of the commands that it runs.
type bench struct {
	t    *testing.T
	base string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	require.FUSE(t)
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"a", "u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "a/file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(base) })
	return &bench{t, base}
}

// command is this test binary as plyfs.
func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(selfExe)
	cmd.Args = append([]string{"plyfs"}, args...)
	cmd.Dir = b.base
	return cmd
}

func (b *bench) run(args ...string) {
	b.t.Helper()
	if out, err := b.command(args...).CombinedOutput(); err != nil {
		b.t.Fatalf("plyfs %q: %v\n%s", args, err, out)
	}
}

// server is the process that serves the bench's mount.
func (b *bench) server() int {
	b.t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, err := os.ReadFile(d + "/cmdline")
		if err == nil && bytes.HasPrefix(line, []byte("plyfs\x00mount\x00")) && bytes.Contains(line, []byte(b.base)) {
			pid, err := strconv.Atoi(filepath.Base(d))
			if err == nil {
				return pid
			}
		}
	}
	b.t.Fatal("no server")
	return 0
}

const rw = "lowerdir=a,upperdir=u,workdir=w"

func (b *bench) mount() int {
	b.t.Helper()
	b.run("mount", "-o", rw, filepath.Join(b.base, "m"))
	return b.server()
}

func (b *bench) mounted() bool {
	table, err := readMounts()
	if err != nil {
		b.t.Fatal(err)
	}
	_, ok := table.on(filepath.Join(b.base, "m"))
	return ok
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

// gone says that a process has ended, be it that its parent hasn't noticed.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// TestDaemon: the server has let go of all that it had from its caller.
func TestDaemon(t *testing.T) {
	b := newBench(t)
	open, err := os.Open(b.base)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cmd := b.command("mount", "-o", rw, filepath.Join(b.base, "m"))
	cmd.ExtraFiles = []*os.File{open, open}
	out, err := cmd.CombinedOutput() // returns when nobody has the pipe any more
	if err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	proc := fmt.Sprintf("/proc/%d/", b.server())
	for link, want := range map[string]string{"cwd": "/", "fd/0": os.DevNull, "fd/1": os.DevNull, "fd/2": os.DevNull} {
		if got, err := os.Readlink(proc + link); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", link, got, err, want)
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(proc + "fd/" + fd.Name()); to == b.base {
			t.Errorf("descriptor %s of the caller is still open", fd.Name())
		}
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil || !strings.Contains(string(status), "Umask:\t0000\n") {
		t.Errorf("the umask is not 0 (%v)", err)
	}
	if sid, err := unix.Getsid(b.server()); err != nil || sid != b.server() {
		t.Errorf("session %d (%v), want its own", sid, err)
	}
	env, err := os.ReadFile(proc + "environ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(env, []byte(serveEnv)) {
		t.Error("the test looks at the wrong process")
	}
}

// TestSignals: each signal that ends a program unmounts.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		b := newBench(t)
		pid := b.mount()
		unix.Kill(pid, syscall.SIGUSR1) // counts, no end
		unix.Kill(pid, sig)
		eventually(t, "end after "+sig.String(), func() bool { return gone(pid) && !b.mounted() })
	}
}

// TestSignalInUse: a mount that is in use leaves the tree, and who has a file
// open can go on; a second signal ends that, too.
func TestSignalInUse(t *testing.T) {
	b := newBench(t)
	for _, signals := range []int{1, 2} {
		pid := b.mount()
		f, err := os.Open(filepath.Join(b.base, "m/file"))
		if err != nil {
			t.Fatal(err)
		}
		unix.Kill(pid, syscall.SIGTERM)
		eventually(t, "the mount leaves the tree", func() bool { return !b.mounted() })
		if text := make([]byte, 4); signals == 1 {
			if _, err := f.ReadAt(text, 0); err != nil || string(text) != "text" {
				t.Errorf("reading on: %q, %v", text, err)
			}
			f.Close()
		} else {
			unix.Kill(pid, syscall.SIGTERM)
		}
		eventually(t, "the server ends", func() bool { return gone(pid) })
		f.Close()
	}
}

// TestAgainAndAgain: after umount the work directory is free at once.
func TestAgainAndAgain(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		b.mount()
		name := fmt.Sprintf("m/%d", i)
		if err := os.WriteFile(filepath.Join(b.base, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			b.run("umount", "m")
		} else if err := detach(filepath.Join(b.base, "m")); err != nil { // waits for nobody, as podman
			t.Fatal(err)
		}
	}
	if names, err := os.ReadDir(filepath.Join(b.base, "u")); err != nil || len(names) != 20 {
		t.Errorf("%d files in the upper (%v), want 20", len(names), err)
	}
}

// TestOddNames: layers whose names are no UTF-8, and ones given as
// descriptors of the caller.
func TestOddNames(t *testing.T) {
	b := newBench(t)
	odd := "\xff\xfe, :\n\\"
	if err := os.Mkdir(filepath.Join(b.base, odd), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.base, odd, "odd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Join(b.base, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	escaped := strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(odd)
	cmd := b.command("mount", "-o", "lowerdir="+escaped+":/proc/self/fd/4", "m")
	cmd.ExtraFiles = []*os.File{dir, dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"odd", "file"} {
		if _, err := os.Stat(filepath.Join(b.base, "m", name)); err != nil {
			t.Error(err)
		}
	}
	b.run("umount", "m")
}

// TestDeadServer: a mount whose server was killed can be told from others, and
// unmounted.
func TestDeadServer(t *testing.T) {
	b := newBench(t)
	b.run("mount", "-o", rw+",keeper=off", filepath.Join(b.base, "m"))
	pid := b.server()
	unix.Kill(pid, syscall.SIGKILL)
	eventually(t, "the server is dead", func() bool { return gone(pid) })
	out, err := b.command("mount", "-o", rw, "m").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a mount whose server is gone: unmount it first") {
		t.Errorf("mounting over it: %v, %s", err, out)
	}
	b.run("umount", "m")
	if b.mounted() {
		t.Error("it is still there")
	}
}
