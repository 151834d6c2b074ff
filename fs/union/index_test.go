package union

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// indexed has the union use an index file. What is logged comes out of said.
func (e *env) indexed() (said func() []string) {
	var lines []string
	e.o.Index = e.mkdir("index")
	e.shared = &Bases{Log: func(f string, args ...any) { lines = append(lines, fmt.Sprintf(f, args...)) }}
	return func() []string {
		l := lines
		lines = nil
		return l
	}
}

// indexFile is the one index file that there is.
func (e *env) indexFile() string {
	e.Helper()
	names, err := filepath.Glob(e.path("index/*"))
	if err != nil || len(names) != 1 {
		e.Fatalf("index files: %v %v", names, err)
	}
	return names[0]
}

// sever takes the layers from the union: whatever asks one of them fails. The
// root of the mount is asked of a layer, always.
func (e *env) sever() {
	for i := range e.fs.layers {
		if i > 0 {
			e.fs.layers[i].fd = -1
		}
	}
	e.Cleanup(func() {
		for i := range e.fs.layers[1:] {
			e.fs.layers[1+i].fd = e.fs.stack.Lower[i].FD
		}
	})
}

// rich makes layers with one of everything.
func (e *env) rich() {
	e.image()
	e.file("lower3/etc/passwd", "root")
	link(e, e.path("lower3/etc/passwd"), e.path("lower3/etc/passwd-"))
	e.file("lower2/etc/label", "x")
	e.setxattr("lower2/etc/label", "user.label", "v")
	for _, err := range []error{
		os.Symlink("../etc/passwd", e.path("lower3/etc/link")),
		os.Symlink(strings.Repeat("long/", 500), e.path("lower4/a/long")),
		unix.Mkfifo(e.path("lower4/a/fifo"), 0o600),
		os.Mkdir(e.path("lower5/empty"), 0o700),
		os.Chmod(e.path("lower5/c/file4"), 0o4711),
		os.Truncate(e.path("lower5/c/file4"), 1<<40),
	} {
		if err != nil {
			e.Fatal(err)
		}
	}
	e.file("lower5/"+strings.Repeat("n", 255), "")
	e.file("lower2/gone/f", "")
	e.file("lower1/.wh.gone", "")
	e.file("lower4/c/.wh..wh..opq", "")
}

// look is everything that can be asked without reading data.
func (c *client) look(names ...string) (all []string) {
	all = c.listing()
	for _, l := range all {
		path := strings.TrimPrefix(strings.Fields(l)[0], "/")
		n := c.walk(path)
		target, e := c.fs.Readlink(n.Node)
		var buf [64]byte
		k, e2 := c.fs.ListXattr(n.Node, buf[:])
		line := fmt.Sprintf("%s %d %q %v %q %v", l, n.Node.Index(), target, e == 0, buf[:k], e2)
		for _, name := range names {
			k, e := c.fs.GetXattr(n.Node, name, buf[:])
			if e != 0 {
				k = 0
			}
			line += fmt.Sprintf(" %s=%d %v", name, k, e)
		}
		var a Attr
		c.check("getattr", c.fs.GetAttr(n.Node, &a))
		all = append(all, fmt.Sprintf("%s %+v", line, sansTime(a)))
		if _, e := c.try(path + "/absent"); e == 0 {
			c.t.Errorf("%s/absent is there", path)
		}
	}
	return all
}

// sansTime leaves out what a look changes, and whether a layer was asked.
func sansTime(a Attr) Attr {
	a.Atime, a.Asked = Time{}, false
	return a
}

var xattrNames = []string{"security.capability", "system.posix_acl_access", "user.label", "nonsense"}

// TestIndexFile: with an index file everything looks as it does without, node ids and
// inode numbers and offsets included, and no layer is asked for anything: they are
// not even there.
func TestIndexFile(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	e.open()
	want := e.c.look(xattrNames...)
	offsets := e.c.offsets()
	e.close()
	said := e.indexed()
	e.reopen().close() // builds it
	e.indexFile()
	e.reopen()
	if e.fs.base.file.Load() == nil {
		t.Fatalf("no index file is used: %v", said())
	}
	e.sever()
	// What has xattrs is asked for them, and how the layers say that there is none.
	got := e.c.listing()
	if !slices.Equal(got, want[:len(got)]) {
		t.Errorf("with an index: %s", diffOf(got, want[:len(got)]))
	}
	if got := e.c.offsets(); !slices.Equal(got, offsets) {
		t.Errorf("offsets with an index %v, without %v", got, offsets)
	}
	for _, absent := range []string{"none", "a/none", "a/b/none", "gone", "etc/passwd.bak", "only3"} {
		if _, errno := e.c.try(absent); errno != unix.ENOENT {
			t.Errorf("%s: %v", absent, errno)
		}
	}
	if target, errno := e.fs.Readlink(e.c.id("etc/link")); errno != 0 || target != "../etc/passwd" {
		t.Errorf("link: %q %v", target, errno)
	}
	if n, errno := e.fs.ListXattr(e.c.id("a/same"), nil); n != 0 || errno != 0 {
		t.Errorf("listxattr of a file without: %d %v", n, errno)
	}
	if n := e.lowerFDs(); n != 0 {
		t.Errorf("%d directories of lower layers are open", n)
	}
	e.close()
	e.reopen()
	if got := e.c.look(xattrNames...); !slices.Equal(got, want) {
		t.Errorf("with an index: %s", diffOf(got, want))
	}
	// Once it is known how this file system says no, it isn't asked again.
	e.sever()
	for _, name := range xattrNames[:3] {
		if _, errno := e.fs.GetXattr(e.c.id("a/b/same"), name, nil); errno != unix.ENODATA {
			t.Errorf("%s: %v", name, errno)
		}
	}
	if l := said(); len(l) > 0 {
		t.Errorf("the log: %v", l)
	}
}

func diffOf(a, b []string) string {
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "+"+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "-"+l)
		}
	}
	return strings.Join(out, "\n")
}

// offsets are those of all directory entries.
func (c *client) offsets() (all []string) {
	for _, dir := range []string{"", "a", "a/b", "etc", "c"} {
		s := positions{}
		c.check("readdir", c.fs.ReadDir(c.id2(dir), 0, false, &s))
		all = append(all, fmt.Sprint(dir, s))
	}
	return all
}

func (c *client) id2(path string) node.ID {
	if path == "" {
		return node.Root
	}
	return c.id(path)
}

type positions []string

func (p *positions) Room(string) bool { return true }

func (p *positions) Add(name string, ino uint64, typ uint32, next uint64) bool {
	*p = append(*p, fmt.Sprint(name, ino, typ, next))
	return true
}

func (p *positions) AddPlus(string, *Entry, uint64, uint32, uint64) {}

// TestIndexInBackground: a union does not wait for its file, and has it when it is
// built.
func TestIndexInBackground(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	e.indexed()
	e.shared.Background = true
	want := e.open().c.listing()
	waitFor(t, func() bool { return e.fs.base.file.Load() != nil })
	e.c.forgetAll()
	if got := e.c.listing(); !slices.Equal(got, want) {
		t.Errorf("when the file has come: %s", diffOf(got, want))
	}
	// The next union in any process has it from the start.
	b := e.beside()
	b.shared = nil
	b.open()
	b.sever()
	if got := b.c.listing(); !slices.Equal(got, want) {
		t.Errorf("a second union: %s", diffOf(got, want))
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		if err := syscall.Nanosleep(&syscall.Timespec{Nsec: 1e7}, nil); err != nil && err != syscall.EINTR {
			t.Fatal(err)
		}
	}
	t.Fatal("it takes more than ten seconds")
}
