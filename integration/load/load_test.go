package load

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

// TestProcesses: 64 processes do all sorts of things for some time.
func TestProcesses(t *testing.T) {
	u := harness.Root(t)
	stack, mnt := u.NewStack(t, 1)
	m := newMixed(t, u, 64, stack.Lower[0])
	s := serve(t, u, harness.Binary(t), "", stack, mnt)
	m.run(t, mnt, 500*time.Millisecond)
	s.alive()
}

// TestProcessesSoak does it for ten minutes, on a server with the race detector in
// it.
func TestProcessesSoak(t *testing.T) {
	onlySoak(t)
	u := harness.Root(t)
	source, err := harness.Source()
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Dir(t)
	build := exec.Command("go", "build", "-race", "-o", dir+"/plyfs", "./cmd/plyfs")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	length := 10 * time.Minute
	if d, err := time.ParseDuration(os.Getenv("PLYFS_SOAK")); err == nil {
		length = min(length, d)
	}
	stack, mnt := u.NewStack(t, 1)
	m := newMixed(t, u, 64, stack.Lower[0])
	s := serve(t, u, dir+"/plyfs", "", stack, mnt, "GORACE=log_path="+dir+"/race")
	m.run(t, mnt, length)
	s.alive()
	races, _ := filepath.Glob(dir + "/race*")
	for _, r := range races {
		text, _ := os.ReadFile(r)
		t.Errorf("%.5000s", text)
	}
}

// TestMounts has many mounts at once, of one user, in a user namespace: fusermount3
// stops at mount_max.
func TestMounts(t *testing.T) { mounts(t, 25) }

// TestMountsSoak has a thousand.
func TestMountsSoak(t *testing.T) {
	onlySoak(t)
	mounts(t, 1000)
}

func mounts(t *testing.T, n int) {
	u := harness.Unprivileged(t)
	require.UserNS(t)
	require.SubIDs(t)
	out := u.RunIn(t, harness.SubIDs, `
		cd $D; mkdir lower; echo lower >lower/f; echo gone >lower/gone
		for ((i = 0; i < $N; i++)); do mkdir -p $i/{u,w,m}; $BIN mount -o lowerdir=$D/lower,upperdir=$D/$i/u,workdir=$D/$i/w $D/$i/m; done
		test $(grep -c " $D/[0-9]*/m " /proc/self/mountinfo) = $N
		for ((i = 0; i < $N; i++)); do echo $i >>$i/m/f; rm $i/m/gone; done
		for ((i = 0; i < $N; i++)); do test "$(cat $i/m/f)" = lower$'\n'$i; test ! -e $i/m/gone; done
		pss=0; for p in /proc/[0-9]*; do
			case $(tr '\0' ' ' <$p/cmdline 2>/dev/null) in *plyfs*$D/*) read _ kb _ < <(grep ^Pss: $p/smaps_rollup) && pss=$((pss + kb)) ;; esac
		done
		echo $pss
		for ((i = 0; i < $N; i++)); do $BIN umount $i/m; done
		test "$(cat lower/f)" = lower; test "$(tail -n 1 $((N-1))/u/f)" = $((N-1))
		for i in $(seq 600); do pgrep -f "plyfs.* $D/" >/dev/null || exit 0; sleep 0.1; done; pgrep -af "plyfs.* $D/"; exit 1
	`, "D="+u.Dir(t), fmt.Sprint("N=", n))
	kb, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	t.Logf("%d mounts: %d KB of memory each, servers and keepers", n, kb/n)
	if kb == 0 {
		t.Error("no server was found")
	}
}

// TestDescriptors: with 256 descriptors in all, any number of files can be looked
// at, held open and written.
func TestDescriptors(t *testing.T) {
	u := harness.Root(t)
	stack, mnt := u.NewStack(t, 3)
	const dirs, files = 40, 25
	for d := range dirs {
		for f := range files {
			dir := fmt.Sprintf("%s/d%d/sub", stack.Lower[(d+f)%3], d)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(fmt.Sprintf("%s/f%d", dir, f), []byte("lower"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := newMixed(t, u, 8, stack.Lower[0])
	s := serve(t, u, harness.Binary(t), "ulimit -n 256", stack, mnt)
	var held []*os.File
	for d := range dirs {
		for f := range files {
			name := fmt.Sprintf("%s/d%d/sub/f%d", mnt, d, f)
			file, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			held = append(held, file)
		}
	}
	m.run(t, mnt, time.Second)
	for i, f := range held { // each is copied up now
		if _, err := f.WriteAt([]byte(strconv.Itoa(i)), 5); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := os.Remove(f.Name()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, f := range held {
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		if want := "lower" + strconv.Itoa(i); string(b[:n]) != want {
			t.Errorf("%s: %q, want %q", f.Name(), b[:n], want)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil || len(fds) > 256 {
		t.Errorf("%d descriptors, %v", len(fds), err)
	}
	t.Logf("%d files held open, with %d descriptors of the server", len(held), len(fds))
	s.alive()
}

// TestMemory: the server in a cgroup with 64 MB goes on under the mixed load, and is
// not killed.
func TestMemory(t *testing.T) { memory(t, time.Second) }

// TestMemorySoak goes on for minutes.
func TestMemorySoak(t *testing.T) {
	onlySoak(t)
	memory(t, 3*time.Minute)
}

func memory(t *testing.T, length time.Duration) {
	u := harness.Root(t)
	group, limit, events := memoryGroup(t)
	if err := os.WriteFile(filepath.Join(group, limit), []byte("67108864"), 0); err != nil {
		t.Fatal(err)
	}
	stack, mnt := u.NewStack(t, 1)
	m := newMixed(t, u, 16, stack.Lower[0])
	s := serve(t, u, harness.Binary(t), "echo $$ >"+group+"/cgroup.procs", stack, mnt)
	// More than fits, written and read.
	u.Run(t, `dd if=/dev/zero of=$D/big bs=1M count=100 status=none; cmp -n 104857600 $D/big /dev/zero`, "D="+mnt)
	m.run(t, mnt, length)
	s.alive()
	text, err := os.ReadFile(filepath.Join(group, events))
	if err != nil || !strings.Contains(string(text), "oom_kill 0") {
		t.Errorf("killed for want of memory: %s %v", text, err)
	}
	t.Logf("peak %d KB resident", s.memory("VmHWM"))
}

// memoryGroup makes a cgroup of our own of the memory controller, in either version.
func memoryGroup(t *testing.T) (dir, limit, events string) {
	t.Helper()
	name := fmt.Sprint("plyfs-load-", os.Getpid())
	dir, limit, events = filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", "memory.oom_control"
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(text), "memory") {
		dir, limit, events = filepath.Join("/sys/fs/cgroup", name), "memory.max", "memory.events"
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		require.Missing(t, "a cgroup with a memory controller: %v", err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); unix.Rmdir(dir) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s stays", dir)
		}
	})
	return dir, limit, events
}
