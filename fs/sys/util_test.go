package sys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withWithout runs a test with what the kernel has and with the fallbacks.
func withWithout(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Run("with", fn)
	t.Run("without", func(t *testing.T) {
		a, b, c := HasOpenat2, HasFchmodat2, HasXattrat
		t.Cleanup(func() { HasOpenat2, HasFchmodat2, HasXattrat = a, b, c })
		HasOpenat2, HasFchmodat2, HasXattrat = false, false, false
		fn(t)
	})
}

// space is a directory with one of each kind: f(ile), d(irectory), l(ink to f),
// dl (link to d), dangling, p(ipe).
type space struct {
	testing.TB
	dir string
	fd  int // O_PATH
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{TB: t, dir: t.TempDir()}
	s.file("f", "hello")
	s.file("d/in", "inside")
	for name, target := range map[string]string{"l": "f", "dl": "d", "dangling": "nowhere"} {
		if err := os.Symlink(target, s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(s.path("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fd = s.open("", unix.O_PATH|unix.O_DIRECTORY)
	return s
}

func (s *space) path(p string) string { return filepath.Join(s.dir, p) }

func (s *space) file(p, content string) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(p)), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(s.path(p), []byte(content), 0o644); err != nil {
		s.Fatal(err)
	}
}

// open opens by path, and closes at the end of the test.
func (s *space) open(p string, flags int) int {
	s.Helper()
	fd, err := unix.Open(s.path(p), flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		s.Fatal(p, err)
	}
	s.Cleanup(func() { unix.Close(fd) })
	return fd
}

func (s *space) lstat(p string) (st Stat) {
	s.Helper()
	if err := unix.Lstat(s.path(p), &st); err != nil {
		s.Fatal(p, err)
	}
	return st
}

func (s *space) content(p string) string {
	s.Helper()
	b, err := os.ReadFile(s.path(p))
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

var (
	long255 = strings.Repeat("n", 255)
	long256 = strings.Repeat("n", 256)
)

func openFDs(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
