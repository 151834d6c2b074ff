package passthrough

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// size of the files that are big enough to be handed to the kernel.
const size = 1 << 20

// stand is a mount over a lower layer with one big file, "f", and a small one.
type stand struct {
	testing.TB
	u     *harness.User
	stack harness.Stack
	mnt   string
}

func newStand(t testing.TB) *stand {
	t.Helper()
	u := harness.Root(t)
	require.FUSE(t)
	var un unix.Utsname
	if err := unix.Uname(&un); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	for i, p := 0, &major; i < len(un.Release) && (un.Release[i] == '.' || un.Release[i] >= '0' && un.Release[i] <= '9'); i++ {
		switch {
		case un.Release[i] != '.':
			*p = *p*10 + int(un.Release[i]-'0')
		case p == &major:
			p = &minor
		default:
			i = len(un.Release)
		}
	}
	if major < 6 || major == 6 && minor < 9 {
		require.Missing(t, "FUSE passthrough, which is in Linux 6.9 and later: this is %d.%d", major, minor)
	}
	s := &stand{TB: t, u: u}
	s.stack, s.mnt = u.NewStack(t, 1)
	s.stack.More = []string{"io=passthrough"}
	s.write(s.lower("f"), bytes.Repeat([]byte{'a'}, size))
	s.write(s.lower("small"), []byte("small"))
	return s
}

func (s *stand) mount() *stand {
	s.Helper()
	s.u.Mount(s.TB, s.stack, s.mnt)
	return s
}

func (s *stand) lower(name string) string { return filepath.Join(s.stack.Lower[0], name) }
func (s *stand) path(name string) string  { return filepath.Join(s.mnt, name) }

func (s *stand) write(path string, data []byte) {
	s.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		s.Fatal(err)
	}
}

func (s *stand) open(path string, flags int) *os.File {
	s.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { f.Close() })
	return f
}

// mapped maps the whole file, shared.
func (s *stand) mapped(f *os.File, prot int) []byte {
	s.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = unix.Munmap(m) })
	return m
}

// want checks a few bytes at the start of a file, without opening it anew.
func (s *stand) want(what string, f *os.File, text string) {
	s.Helper()
	got := make([]byte, len(text))
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != text {
		s.Errorf("%s reads %q, %v; want %q", what, got, err, text)
	}
}

// wantPath checks the start of a file, opened anew.
func (s *stand) wantPath(path, text string) {
	s.Helper()
	f := s.open(path, os.O_RDONLY)
	s.want(path, f, text)
	f.Close()
}

// lowerIsWhole checks that nobody wrote to the lower file.
func (s *stand) lowerIsWhole() {
	s.Helper()
	b, err := os.ReadFile(s.lower("f"))
	if err != nil || len(b) != size || bytes.Count(b, []byte{'a'}) != size {
		s.Fatalf("the lower file was written to: %d bytes, %d of them as they were; %v", len(b), bytes.Count(b, []byte{'a'}), err)
	}
}
