package layer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// tree makes directories below a fresh one and changes into it.
func tree(t *testing.T, dirs ...string) string {
	t.Helper()
	base := t.TempDir()
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(base)
	return base
}

func parse(t *testing.T, text string) *Options {
	t.Helper()
	o, _, err := Parse([]string{text}, false)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOpen(t *testing.T) {
	base := tree(t, "a", "b", "u", "w")
	if err := os.Symlink("b", "link"); err != nil {
		t.Fatal(err)
	}
	s, err := Open(parse(t, "lowerdir=a:"+base+"/link,upperdir=u,workdir=w"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Lower) != 2 || s.Lower[0].Path != "a" || s.Upper == nil || s.Work == nil {
		t.Errorf("stack %+v", s)
	}
	for name, d := range map[string]*Dir{"a": &s.Lower[0], "b": &s.Lower[1], "u": s.Upper, "w": s.Work} {
		var st, fd unix.Stat_t
		if unix.Stat(name, &st) != nil || unix.Fstat(d.FD, &fd) != nil || st.Ino != fd.Ino || st.Ino != d.Ino || uint64(st.Dev) != d.Dev {
			t.Errorf("%s: descriptor %d is not that directory", name, d.FD)
		}
		flags, err := unix.FcntlInt(uintptr(d.FD), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: descriptor %d survives an exec", name, d.FD)
		}
	}
	fds := countFDs(t)
	s.Close()
	s.Close()
	if n := countFDs(t); n != fds-4 {
		t.Errorf("Close left %d of 4 descriptors", n-fds+4)
	}
	for _, d := range []string{"u", "w"} {
		if entries, _ := os.ReadDir(d); len(entries) > 0 {
			t.Errorf("Open made %v in %s", entries, d)
		}
	}
}

// TestOpenReadOnly: without an upper, and with one under ro, there is nothing
// to write to.
func TestOpenReadOnly(t *testing.T) {
	tree(t, "a", "u", "w")
	for text, want := range map[string]int{
		"lowerdir=a":                         1,
		"lowerdir=a,upperdir=u,ro":           2,
		"lowerdir=a,upperdir=u,workdir=w,ro": 2,
	} {
		s, err := Open(parse(t, text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(s.Lower) != want || s.Upper != nil || s.Work != nil {
			t.Errorf("%s: %+v", text, s)
		}
		if want == 2 && s.Lower[0].Path != "u" {
			t.Errorf("%s: the upper is not on top", text)
		}
		s.Close()
	}
}

// TestOpenRefuses: each fault is one line that names the directory and the way
// out, and leaves no descriptor open.
func TestOpenRefuses(t *testing.T) {
	tree(t, "a/in", "b", "u/in", "w/in", "deep/a", "deep/x/y/z/u", "deep/x/y/z/w")
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "dangling"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", "loop"); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ text, want string }{
		{"upperdir=u,workdir=w", "no lower layer: give at least one with -o lowerdir="},
		{"lowerdir=missing", "lowerdir missing does not exist"},
		{"lowerdir=a:missing:b", "lowerdir missing does not exist"},
		{"lowerdir=file", "lowerdir file is not a directory"},
		{"lowerdir=dangling", "lowerdir dangling does not exist"},
		{"lowerdir=loop", "lowerdir loop: cannot open"},
		{"lowerdir=" + strings.Repeat("a/../", 1000) + "a", "too long"},
		{"lowerdir=a,upperdir=missing,workdir=w", "upperdir missing does not exist"},
		{"lowerdir=a,upperdir=u,workdir=file", "workdir file is not a directory"},
		{"lowerdir=a,upperdir=u", "upperdir needs a workdir: add workdir="},
		{"lowerdir=a,upperdir=u,workdir=/dev", "workdir /dev is on another filesystem than upperdir u"},
		{"lowerdir=a,upperdir=u,workdir=u/in", "workdir u/in is inside upperdir u"},
		{"lowerdir=a,upperdir=w/in,workdir=w", "upperdir w/in is inside workdir w"},
		{"lowerdir=a,upperdir=u,workdir=./u", "upperdir and workdir are the same directory"},
		{"lowerdir=a:b:./a", "the same directory is given twice: a and ./a"},
		{"lowerdir=a:u,upperdir=u,workdir=w", "the same directory is given twice: u and u (lowerdir and upperdir)"},
		{"lowerdir=a,upperdir=a/in,workdir=w", "upperdir a/in is inside lowerdir a"},
		{"lowerdir=b:deep,upperdir=deep/x/y/z/u,workdir=deep/x/y/z/w", "upperdir deep/x/y/z/u is inside lowerdir deep"},
		{"lowerdir=u/in,upperdir=u,workdir=w", "lowerdir u/in is inside upperdir u"},
		{"lowerdir=a:w/in,upperdir=u,workdir=w", "lowerdir w/in is inside workdir w"},
		{"lowerdir=b,upperdir=u,workdir=w/in/..", ""},
		{"lowerdir=a:a/in,upperdir=u,workdir=w", ""},
	}
	fds := countFDs(t)
	for _, tt := range tests {
		s, err := Open(parse(t, tt.text))
		switch {
		case tt.want == "":
			if err != nil {
				t.Errorf("%s: %v", tt.text, err)
				continue
			}
			s.Close()
		case err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%.80s: error %v, want one line with %q", tt.text, err, tt.want)
		}
	}
	if n := countFDs(t); n != fds {
		t.Errorf("%d descriptors were left open", n-fds)
	}
}

// TestOpenLive: a live lower may hold the upper, as / does.
func TestOpenLive(t *testing.T) {
	tree(t, "a/u", "a/w")
	s, err := Open(parse(t, "lowerdir=a,upperdir=a/u,workdir=a/w,live"))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(parse(t, "lowerdir=a,upperdir=a/u,workdir=a/u/../u/../../a/u,live")); err == nil {
		t.Error("live accepts a workdir that is the upperdir")
	}
}

// TestOpenReadOnlyFilesystem: an upper that can't be written is refused.
func TestOpenReadOnlyFilesystem(t *testing.T) {
	require.Root(t)
	tree(t, "a", "m", "m2")
	mountTmpfs(t, "m")
	for _, d := range []string{"m/u", "m/w"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The same filesystem through two mounts: rename(2) doesn't go between them.
	if err := unix.Mount("m", "m2", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("m2", unix.MNT_DETACH)
	_, err := Open(parse(t, "lowerdir=a,upperdir=m/u,workdir=m2/w"))
	if err == nil || !strings.Contains(err.Error(), "another mount of the filesystem") {
		t.Errorf("two mounts of one filesystem: %v", err)
	}
	if err := unix.Mount("", "m", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err = Open(parse(t, "lowerdir=a,upperdir=m/u,workdir=m/w"))
	if err == nil || !strings.Contains(err.Error(), "upperdir m/u is on a read-only filesystem: leave upperdir and workdir out") {
		t.Errorf("read-only filesystem: %v", err)
	}
	s, err := Open(parse(t, "lowerdir=a,upperdir=m/u,ro"))
	if err != nil {
		t.Fatalf("ro on a read-only filesystem: %v", err)
	}
	s.Close()
}

// TestMountPoint: a mount point inside a layer would have the server wait for
// itself.
func TestMountPoint(t *testing.T) {
	tree(t, "a/in", "b", "u/in", "w/in", "m")
	s, err := Open(parse(t, "lowerdir=a:b,upperdir=u,workdir=w"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, want := range map[string]string{
		"m":       "",
		"a":       "", // over a lower, as the kernel does
		".":       "",
		"missing": "mount point missing does not exist",
		"u":       "mount point u is the upperdir",
		"w":       "mount point w is the workdir",
		"u/in":    "mount point u/in is inside upperdir u",
		"w/in":    "mount point w/in is inside workdir w",
		"a/in":    "mount point a/in is inside lowerdir a",
	} {
		err := s.CheckMountPoint(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestManyDirs: a thousand layers are opened and checked in no time, and too
// many are refused before one is opened.
func TestManyDirs(t *testing.T) {
	var dirs []string
	for i := range 1000 {
		dirs = append(dirs, fmt.Sprintf("l/%d", i))
	}
	tree(t, append(dirs, "u", "w")...)
	o := parse(t, "lowerdir="+strings.Join(dirs, ":")+",upperdir=u,workdir=w")
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	// The soft limit doesn't count: it is raised to the hard one.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(o); err != nil {
		t.Errorf("with a low soft limit: %v", err)
	} else {
		s.Close()
	}
	for i := range before.Max {
		o.Lower = append(o.Lower, fmt.Sprint("missing", i))
	}
	_, err = Open(o)
	if err == nil || !strings.Contains(err.Error(), "layers need") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("too many layers: %.200v", err)
	}
}

// TestUnwritable: a workdir that may not be written is refused; an upper whose
// root may not is what the root of some images looks like.
func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		asUser(t)
		return
	}
	tree(t, "a", "u", "w", "secret/x")
	for _, d := range []string{"u", "w"} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(parse(t, "lowerdir=a,upperdir=u,workdir=w"))
	if err == nil || !strings.Contains(err.Error(), "workdir w is not writable for you") {
		t.Errorf("workdir: %v", err)
	}
	os.Chmod("w", 0o755)
	s, err := Open(parse(t, "lowerdir=a,upperdir=u,workdir=w"))
	if err != nil {
		t.Fatalf("upper without write bits: %v", err)
	}
	s.Close()
	os.Chmod("secret", 0)
	defer os.Chmod("secret", 0o755)
	for _, d := range []string{"secret", "secret/x"} {
		_, err = Open(parse(t, "lowerdir="+d))
		if err == nil || !strings.Contains(err.Error(), "lowerdir "+d+" is not readable for you") {
			t.Errorf("lowerdir without rights: %v", err)
		}
	}
}
