// This file is longer than a page because the helpers of all tests here are one
// subject: a client of the union, and the layers that it is given.

package union

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// env is a set of layers on disk and the union that is open on them.
type env struct {
	testing.TB
	dir string
	o   layer.Options
	fs  *FS
	c   *client

	shared *Bases // nil: the union shares nothing
}

// client does what the kernel does with nodes: it counts what it was given, so
// that it can forget everything.
type client struct {
	t     testing.TB
	fs    *FS
	mu    sync.Mutex
	n     map[node.ID]uint64
	steps []string // views between operations, see crash_test.go
}

var caller = &Caller{}

// newEnv makes empty layers: lower1 is the top one.
func newEnv(t testing.TB, lowers int) *env {
	t.Helper()
	e := &env{TB: t, dir: t.TempDir()}
	for i := 1; i <= lowers; i++ {
		e.o.Lower = append(e.o.Lower, e.mkdir("lower"+strconv.Itoa(i)))
	}
	e.o.Upper, e.o.Work = e.mkdir("upper"), e.mkdir("work")
	return e
}

func (e *env) mkdir(p string) string {
	e.Helper()
	p = e.path(p)
	if err := os.MkdirAll(p, 0o755); err != nil {
		e.Fatal(err)
	}
	return p
}

func (e *env) path(p string) string { return filepath.Join(e.dir, p) }

// file makes a file on disk, with the directories above it.
func (e *env) file(p, content string) {
	e.Helper()
	e.mkdir(filepath.Dir(p))
	if err := os.WriteFile(e.path(p), []byte(content), 0o644); err != nil {
		e.Fatal(err)
	}
}

// whiteout makes one on disk.
func (e *env) whiteout(p string) {
	e.Helper()
	e.mkdir(filepath.Dir(p))
	switch err := unix.Mknod(e.path(p), unix.S_IFCHR, 0); err {
	case nil:
	case unix.EPERM:
		require.Missing(e, "mknod of a whiteout: %v", err)
	default:
		e.Fatal(err)
	}
}

func (e *env) setxattr(p, attr, v string) {
	e.Helper()
	if err := unix.Lsetxattr(e.path(p), attr, []byte(v), 0); err != nil {
		e.Fatal(attr, err)
	}
}

// open opens the union; it is closed at the end of the test.
func (e *env) open() *env {
	e.Helper()
	e.fs = e.openAnother()
	e.c = &client{t: e.TB, fs: e.fs, n: map[node.ID]uint64{}}
	e.Cleanup(func() { e.close() })
	return e
}

func (e *env) openAnother() *FS {
	e.Helper()
	o := e.o
	stack, err := layer.Open(&o)
	if err != nil {
		e.Fatal(err)
	}
	fs, err := e.shared.New(stack, &o)
	if err != nil {
		e.Fatal(err)
	}
	return fs
}

// onHeap puts the node table on the Go heap, where the race detector sees it.
func (e *env) onHeap(n int) *env {
	e.fs.t.Close()
	e.fs.t = node.NewHeap(n)
	e.fs.t.OnFree = e.fs.freed
	e.fs.dirs.init()
	if err := e.fs.initRoot(); err != nil {
		e.Fatal(err)
	}
	return e
}

func (e *env) close() {
	if e.fs != nil {
		if err := e.fs.Close(); err != nil {
			e.Error(err)
		}
		e.fs = nil
	}
}

func (e *env) reopen() *env {
	e.Helper()
	e.close()
	e.fs = e.openAnother()
	e.c = &client{t: e.TB, fs: e.fs, n: map[node.ID]uint64{}}
	return e
}

func (c *client) got(id node.ID) {
	c.mu.Lock()
	c.n[id]++
	c.mu.Unlock()
}

// forget gives back all that the client holds of a node.
func (c *client) forget(id node.ID) {
	c.mu.Lock()
	n := c.n[id]
	delete(c.n, id)
	c.mu.Unlock()
	if n > 0 {
		c.fs.Forget(id, n)
	}
}

func (c *client) forgetAll() {
	for id, n := range c.n {
		c.fs.Forget(id, n)
	}
	clear(c.n)
}

// try looks a path up.
func (c *client) try(path string) (Entry, syscall.Errno) {
	e := Entry{Node: node.Root}
	if path == "" {
		return e, c.fs.GetAttr(node.Root, &e.Attr)
	}
	for name := range strings.SplitSeq(path, "/") {
		parent := e.Node
		if errno := c.fs.Lookup(parent, name, &e); errno != 0 {
			return Entry{}, errno
		}
		c.got(e.Node)
	}
	return e, 0
}

func (c *client) walk(path string) Entry {
	c.t.Helper()
	e, errno := c.try(path)
	if errno != 0 {
		c.t.Fatalf("look-up of %s: %v", path, errno)
	}
	return e
}

func (c *client) id(path string) node.ID {
	c.t.Helper()
	return c.walk(path).Node
}

// split is the directory and the name of a path.
func (c *client) split(path string) (node.ID, string) {
	c.t.Helper()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return node.Root, path
	}
	return c.id(path[:i]), path[i+1:]
}

func (c *client) check(what string, e syscall.Errno) {
	c.t.Helper()
	if e != 0 {
		c.t.Fatalf("%s: %v", what, e)
	}
}

func (c *client) attr(id node.ID) Attr {
	c.t.Helper()
	var a Attr
	c.check("getattr", c.fs.GetAttr(id, &a))
	return a
}

func (c *client) create(path string, mode uint32) node.ID {
	c.t.Helper()
	d, n := c.split(path)
	var e Entry
	c.check("create "+path, c.fs.Create(caller, d, n, mode, 0, &e))
	c.got(e.Node)
	return e.Node
}

func (c *client) mkdir(path string) node.ID {
	c.t.Helper()
	d, n := c.split(path)
	var e Entry
	c.check("mkdir "+path, c.fs.Mkdir(caller, d, n, 0o755, &e))
	c.got(e.Node)
	return e.Node
}

func (c *client) unlink(path string) {
	c.t.Helper()
	d, n := c.split(path)
	c.check("unlink "+path, c.fs.Unlink(d, n))
}

func (c *client) rmdir(path string) {
	c.t.Helper()
	d, n := c.split(path)
	c.check("rmdir "+path, c.fs.Rmdir(d, n))
}

func (c *client) link(id node.ID, path string) node.ID {
	c.t.Helper()
	d, n := c.split(path)
	var e Entry
	c.check("link "+path, c.fs.Link(id, d, n, &e))
	c.got(e.Node)
	return e.Node
}

func (c *client) renameErr(from, to string, flags uint32) syscall.Errno {
	c.t.Helper()
	// As the kernel does: it holds what it renames, and what is there.
	_, _ = c.try(from)
	_, _ = c.try(to)
	fd, fn := c.split(from)
	td, tn := c.split(to)
	return c.fs.Rename(fd, fn, td, tn, flags)
}

func (c *client) rename(from, to string) {
	c.t.Helper()
	c.check("rename "+from+" "+to, c.renameErr(from, to, 0))
}

func (c *client) write(id node.ID, s string, off int64) {
	c.t.Helper()
	n, e := c.fs.Write(id, []byte(s), off, nil)
	if e != 0 || n != len(s) {
		c.t.Fatalf("write: %d, %v", n, e)
	}
}

func (c *client) read(id node.ID) string {
	c.t.Helper()
	buf := make([]byte, 1<<16)
	n, e := c.fs.Read(id, buf, 0)
	c.check("read", e)
	return string(buf[:n])
}

func (c *client) content(path string) string {
	c.t.Helper()
	return c.read(c.id(path))
}

// onDisk lists everything below a directory of the env.
func (e *env) onDisk(p string) []string {
	e.Helper()
	var all []string
	root := e.path(p)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if path != root && err == nil {
			rel, _ := filepath.Rel(root, path)
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		e.Fatal(err)
	}
	return all
}

// workEmpty checks that no temporary is left.
func (e *env) workEmpty() {
	e.Helper()
	if left := e.onDisk("work/work"); len(left) > 0 {
		e.Errorf("left in work/: %v", left)
	}
}

func isWhiteout(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func openFDs(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
