package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
)

// box is a host and an upper, as directories.
type box struct {
	t           *testing.T
	host, upper string
	v           *View
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, host: t.TempDir(), upper: t.TempDir()}
	open := func(dir string) int {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	b.v = &View{Upper: open(b.upper), Host: open(b.host), Virtual: true, Protected: map[string]string{}}
	return b
}

// begin ends the making of the host's tree: what comes later is a change.
func (b *box) begin() {
	b.t.Helper()
	time.Sleep(20 * time.Millisecond) // the grain of file times
	mark := filepath.Join(b.upper, "mark")
	b.write(b.upper, "mark", "")
	var st sys.Stat
	if e := sys.StatAt(b.v.Upper, "mark", &st); e != 0 {
		b.t.Fatal(e)
	}
	b.v.Since = st.Ctim.Nano()
	b.must(os.Remove(mark))
	time.Sleep(20 * time.Millisecond)
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) write(root, name, text string) {
	b.t.Helper()
	p := filepath.Join(root, name)
	b.must(os.MkdirAll(filepath.Dir(p), 0o755))
	b.must(os.WriteFile(p, []byte(text), 0o644))
}

// based marks an upper object as one that took the place of the host's.
func (b *box) based(name string) {
	b.t.Helper()
	var st sys.Stat
	fd, e := beneath(b.v.Host, "/"+name, unix.O_PATH)
	if e != 0 {
		b.t.Fatal(e)
	}
	defer sys.Close(fd)
	if e := sys.StatFD(fd, &st); e != 0 {
		b.t.Fatal(e)
	}
	v := dialect.Base{Ino: st.Ino, Size: uint64(st.Size), Mode: st.Mode, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}.Append(nil)
	b.must(unix.Setxattr(filepath.Join(b.upper, name), dialect.BaseXattr, v, 0))
}

func (b *box) whiteout(name string) {
	b.t.Helper()
	p := filepath.Join(b.upper, name)
	b.must(os.MkdirAll(filepath.Dir(p), 0o755))
	b.must(unix.Mknod(p, unix.S_IFCHR, 0))
}

// changes lists them, as lines.
func (b *box) changes() []Change {
	b.t.Helper()
	list, err := b.v.Changes(true)
	b.must(err)
	return list
}

func (b *box) expect(lines ...string) []Change {
	b.t.Helper()
	list := b.changes()
	var got []string
	for i := range list {
		got = append(got, list[i].Line())
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		b.t.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	return list
}

func (b *box) apply(force bool) *Result {
	b.t.Helper()
	res, err := b.v.Apply(b.changes(), force)
	b.must(err)
	for _, err := range res.Failed {
		b.t.Error(err)
	}
	return res
}

func (b *box) content(name, want string) {
	b.t.Helper()
	got, err := os.ReadFile(filepath.Join(b.host, name))
	if err != nil || string(got) != want {
		b.t.Errorf("the host's %s: %q, %v; want %q", name, got, err, want)
	}
}

func (b *box) gone(name string) {
	b.t.Helper()
	if _, err := os.Lstat(filepath.Join(b.host, name)); !errors.Is(err, os.ErrNotExist) {
		b.t.Errorf("the host still has %s (%v)", name, err)
	}
}
