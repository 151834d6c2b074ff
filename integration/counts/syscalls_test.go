package counts

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
	"golang.org/x/sys/unix"
)

// transport are the system calls of the way to and from the kernel, and of the
// Go runtime; and close, of what was opened before. All others are for a layer.
var transport = strings.Fields(`close read write readv writev futex nanosleep clock_nanosleep epoll_pwait epoll_ctl ppoll sched_yield tgkill getpid gettid
	rt_sigreturn rt_sigprocmask rt_sigaction sigaltstack madvise mmap munmap mprotect clone3 clone exit restart_syscall sched_getaffinity rseq set_robust_list prctl`)

var callLine = regexp.MustCompile(`^[0-9]+ +([a-z0-9_]+)\(`)

// TestIndexSyscalls: with an index file the first look at a tree makes no
// system call for a layer, whatever the number of layers: not for names that are
// there, not for such as aren't, nor for listings, targets and xattrs that
// aren't there. Without one it makes hundreds.
func TestIndexSyscalls(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.Tool(t, "strace")
	dir := t.TempDir()
	const layers, dirs, files = 12, 10, 20
	var lowers []string
	for l := range layers {
		lower := fmt.Sprintf("%s/l%d", dir, l)
		lowers = append(lowers, lower)
		for d := range dirs {
			write(t, fmt.Sprintf("%s/d%d/sub/of-%d", lower, d, l), 1)
		}
	}
	for d := range dirs {
		for f := range files {
			write(t, fmt.Sprintf("%s/l%d/d%d/f%d", dir, (d+f)%layers, d, f), 10)
		}
		if err := os.Symlink("f0", fmt.Sprintf("%s/l3/d%d/link", dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"upper", "work", "mnt", "index"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", strings.Join(lowers, ":"), dir, dir)
	calls := func(options string) (n int, kinds map[string]int) {
		s := startServer(t, options, dir+"/mnt")
		defer s.stop()
		// How this file system says of each kind of object that it has no xattrs is
		// asked once.
		for _, p := range []string{"", "d9", "d9/f1", "d9/link"} {
			lookAt(t, dir+"/mnt/"+p)
		}
		return s.traced(func() {
			for d := range dirs - 1 {
				p := fmt.Sprintf("%s/mnt/d%d", dir, d)
				lookAt(t, p)
				if e, err := os.ReadDir(p); err != nil || len(e) != files+2 {
					t.Errorf("%d names in %s: %v", len(e), p, err)
				}
				if e, err := os.ReadDir(p + "/sub"); err != nil || len(e) != layers {
					t.Errorf("%d names in %s/sub: %v", len(e), p, err)
				}
				for f := range files {
					lookAt(t, fmt.Sprint(p, "/f", f))
				}
				lookAt(t, p+"/link")
				for f := range 5 {
					if _, err := os.Lstat(fmt.Sprint(p, "/absent", f)); !os.IsNotExist(err) {
						t.Errorf("an absent name: %v", err)
					}
				}
			}
		})
	}
	without, kinds := calls(options)
	t.Logf("without an index file: %d calls, %v", without, kinds)
	if without < dirs*files {
		t.Errorf("without an index file only %d calls are seen: %v", without, kinds)
	}
	for what, o := range map[string]string{"built by this mount": options + ",index=" + dir + "/index", "there already": options + ",index=" + dir + "/index"} {
		if n, kinds := calls(o); n != 0 {
			t.Errorf("with an index file, %s: %d calls for layers: %v", what, n, kinds)
		}
	}
}

// lookAt asks everything but for data.
func lookAt(t *testing.T, path string) {
	t.Helper()
	var st unix.Stat_t
	buf := make([]byte, 256)
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if n, err := unix.Readlink(path, buf); err != nil || string(buf[:n]) != "f0" {
			t.Errorf("%s: %q %v", path, buf[:max(n, 0)], err)
		}
	}
	if n, err := unix.Llistxattr(path, buf); n != 0 || err != nil {
		t.Errorf("%s: %d bytes of xattrs: %v", path, n, err)
	}
	if _, err := unix.Lgetxattr(path, "security.capability", buf); err != unix.ENODATA {
		t.Errorf("%s: capability: %v", path, err)
	}
}

// served is a plyfs process.
type served struct {
	t   *testing.T
	cmd *exec.Cmd
	mnt string
}

func startServer(t *testing.T, options, mnt string) *served {
	t.Helper()
	s := &served{t: t, mnt: mnt, cmd: exec.Command(harness.Binary(t), "mount", "-f", "-o", options, mnt)}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var before, now unix.Stat_t
	if err := unix.Stat(filepath.Dir(mnt), &before); err != nil {
		t.Fatal(err)
	}
	for i := 0; now.Dev == 0 || now.Dev == before.Dev; i++ {
		if i > 1000 {
			t.Fatal("it doesn't mount")
		}
		time.Sleep(10 * time.Millisecond)
		_ = unix.Stat(mnt, &now)
	}
	return s
}

func (s *served) stop() {
	if err := unix.Unmount(s.mnt, 0); err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

// traced counts the system calls for layers that the server makes for fn.
func (s *served) traced(fn func()) (n int, kinds map[string]int) {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "trace")
	trace := exec.Command("strace", "-f", "-o", out, "-e", "signal=none", "-p", fmt.Sprint(s.cmd.Process.Pid))
	said, err := trace.StderrPipe()
	if err == nil {
		err = trace.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); !strings.Contains(line, "attached") {
		s.t.Fatalf("strace: %q %v", line, err)
	}
	fn()
	if err := trace.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	_ = trace.Wait() // it tells of the signal
	text, err := os.ReadFile(out)
	if err != nil {
		s.t.Fatal(err)
	}
	kinds = map[string]int{}
	for line := range strings.Lines(string(text)) {
		if m := callLine.FindStringSubmatch(line); m != nil && !slices.Contains(transport, m[1]) {
			kinds[m[1]]++
			n++
		}
	}
	return n, kinds
}
