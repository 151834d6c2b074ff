package fstest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Env is what a case works with. Names that its methods take are relative to
// Dir; what must not fail ends the case when it does.
type Env struct {
	T       *testing.T
	Dir     string // the case's own directory in the mount
	Name    string // its name below the mount and below every layer
	Variant *Variant
	Case    *Case
	Mount   *Mount
	Union   bool // there are layers

	mu  sync.Mutex
	fds []int // to be closed with the case; protected by mu
}

// The ids of other users that cases act as. Both exist in every map that has
// more than one id.
const (
	alice = 1000
	bob   = 2000
)

// Differs tells whether the case declares that something else is to be
// expected on this filesystem.
func (e *Env) Differs() bool {
	_, ok := lookup(e.Case.Differs, e.Variant)
	return ok
}

// Upper is the path of an object in the upper layer.
func (e *Env) Upper(name string) string { return filepath.Join(e.Mount.Upper, e.Name, name) }

// Lower is the path of an object in the i-th lower from the bottom.
func (e *Env) Lower(i int, name string) string {
	return filepath.Join(e.Mount.Layer(i), e.Name, name)
}

// Remount unmounts, calls offline (which may be nil) and mounts again, with
// more options if any are given. What open opened is closed. Only for cases that declare NeedOwn.
func (e *Env) Remount(offline func(), options ...string) {
	e.T.Helper()
	e.closeAll()
	if err := e.Mount.Down(); err != nil {
		e.T.Fatal(err)
	}
	os.RemoveAll(filepath.Join(e.Mount.Work, "work", "incompat"))
	if offline != nil {
		offline()
		e.Mount.dropIndex() // it may have changed more than the roots
		e.Mount.before = lowerState(e.T, e.Mount)
	}
	e.Mount.extra = options
	if err := e.Mount.Up(); err != nil {
		e.T.Fatal(err)
	}
}

// p is the path of name in the mount. It is not cleaned: "d/." stays.
func (e *Env) p(name string) string { return e.Dir + "/" + name }

func (e *Env) ok(err error) {
	e.T.Helper()
	if err != nil {
		e.T.Fatal(err)
	}
}

// fails asserts one of the errors.
func (e *Env) fails(err error, want ...syscall.Errno) {
	e.T.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	e.T.Fatalf("got %v, want %v", err, want)
}

func (e *Env) equal(got, want any, what string) {
	e.T.Helper()
	if got != want {
		e.T.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (e *Env) is(ok bool, format string, args ...any) {
	e.T.Helper()
	if !ok {
		e.T.Fatalf(format, args...)
	}
}

// open gives a descriptor that is closed with the case.
func (e *Env) open(name string, flags int, mode ...uint32) int {
	e.T.Helper()
	fd, err := e.tryOpen(name, flags, mode...)
	if err != nil {
		e.T.Fatalf("open %s %#x: %v", name, flags, err)
	}
	return fd
}

func (e *Env) tryOpen(name string, flags int, mode ...uint32) (int, error) {
	m := uint32(0o644)
	if len(mode) > 0 {
		m = mode[0]
	}
	fd, err := unix.Open(e.p(name), flags|unix.O_CLOEXEC, m)
	if err == nil {
		e.mu.Lock()
		e.fds = append(e.fds, fd)
		e.mu.Unlock()
	}
	return fd, err
}

// closeAll closes what open opened.
func (e *Env) closeAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, fd := range e.fds {
		unix.Close(fd)
	}
	e.fds = nil
}

// close closes what open opened, before its time.
func (e *Env) close(fd int) {
	e.T.Helper()
	e.mu.Lock()
	e.fds = slices.DeleteFunc(e.fds, func(f int) bool { return f == fd })
	e.mu.Unlock()
	e.ok(unix.Close(fd))
}

func (e *Env) put(name, data string) {
	e.T.Helper()
	e.ok(os.WriteFile(e.p(name), []byte(data), 0o644))
}

func (e *Env) get(name string) string {
	e.T.Helper()
	b, err := os.ReadFile(e.p(name))
	e.ok(err)
	return string(b)
}

// want asserts a file's content.
func (e *Env) want(name, data string) {
	e.T.Helper()
	if got := e.get(name); got != data {
		e.T.Fatalf("%s holds %.80q (%d bytes), want %.80q (%d bytes)", name, got, len(got), data, len(data))
	}
}

// add appends to a file through a new descriptor.
func (e *Env) add(name, data string) {
	e.T.Helper()
	f, err := os.OpenFile(e.p(name), os.O_WRONLY|os.O_APPEND, 0)
	e.ok(err)
	_, err = f.WriteString(data)
	e.ok(errors.Join(err, f.Close()))
}

func (e *Env) pwrite(fd int, data string, off int64) {
	e.T.Helper()
	n, err := unix.Pwrite(fd, []byte(data), off)
	e.ok(err)
	e.equal(n, len(data), "bytes written")
}

func (e *Env) pread(fd, n int, off int64) string {
	e.T.Helper()
	b := make([]byte, n)
	got, err := unix.Pread(fd, b, off)
	e.ok(err)
	return string(b[:got])
}

func (e *Env) mkdir(name string) {
	e.T.Helper()
	e.ok(unix.Mkdir(e.p(name), 0o755))
}

func (e *Env) rename(from, to string) {
	e.T.Helper()
	if err := unix.Rename(e.p(from), e.p(to)); err != nil {
		e.T.Fatalf("rename %s to %s: %v", from, to, err)
	}
}

func (e *Env) rename2(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, e.p(from), unix.AT_FDCWD, e.p(to), flags)
}

func (e *Env) link(from, to string) {
	e.T.Helper()
	if err := unix.Link(e.p(from), e.p(to)); err != nil {
		e.T.Fatalf("link %s to %s: %v", from, to, err)
	}
}

func (e *Env) unlink(name string) {
	e.T.Helper()
	if err := unix.Unlink(e.p(name)); err != nil {
		e.T.Fatalf("unlink %s: %v", name, err)
	}
}

func (e *Env) rmdir(name string) {
	e.T.Helper()
	if err := unix.Rmdir(e.p(name)); err != nil {
		e.T.Fatalf("rmdir %s: %v", name, err)
	}
}

// lstat is the object's own stat.
func (e *Env) lstat(name string) unix.Stat_t {
	e.T.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(e.p(name), &st); err != nil {
		e.T.Fatalf("lstat %s: %v", name, err)
	}
	return st
}

func (e *Env) fstat(fd int) unix.Stat_t {
	e.T.Helper()
	var st unix.Stat_t
	e.ok(unix.Fstat(fd, &st))
	return st
}

func (e *Env) ino(name string) uint64 { e.T.Helper(); return e.lstat(name).Ino }

func (e *Env) mode(name string) uint32 { e.T.Helper(); return e.lstat(name).Mode & 0o7777 }

func (e *Env) wantMode(name string, want uint32) {
	e.T.Helper()
	if got := e.mode(name); got != want {
		e.T.Fatalf("%s has mode %04o, want %04o", name, got, want)
	}
}

func (e *Env) wantOwner(name string, uid, gid uint32) {
	e.T.Helper()
	if st := e.lstat(name); st.Uid != uid || st.Gid != gid {
		e.T.Fatalf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
	}
}

func (e *Env) gone(names ...string) {
	e.T.Helper()
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Lstat(e.p(name), &st); !errors.Is(err, unix.ENOENT) {
			e.T.Fatalf("%s is still there (lstat: %v, mode %o)", name, err, st.Mode)
		}
	}
}

// names lists a directory, sorted; a name that comes twice stays twice.
func (e *Env) names(dir string) []string {
	e.T.Helper()
	f, err := os.Open(e.p(dir))
	e.ok(err)
	defer f.Close()
	list, err := f.Readdirnames(-1)
	e.ok(err)
	slices.Sort(list)
	return list
}

func (e *Env) wantNames(dir string, want ...string) {
	e.T.Helper()
	slices.Sort(want)
	if got := e.names(dir); !slices.Equal(got, want) {
		e.T.Fatalf("%s holds %.2000q, want %.2000q", dir, got, want)
	}
}

func (e *Env) setx(name, key, value string) {
	e.T.Helper()
	if err := unix.Lsetxattr(e.p(name), key, []byte(value), 0); err != nil {
		e.T.Fatalf("setxattr %s %s: %v", name, key, err)
	}
}

// getx is an xattr's value, or the error in angle brackets.
func (e *Env) getx(name, key string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(e.p(name), key, buf)
	if err != nil {
		return "<" + err.Error() + ">"
	}
	return string(buf[:n])
}

func (e *Env) wantX(name, key, want string) {
	e.T.Helper()
	if got := e.getx(name, key); got != want {
		e.T.Fatalf("%s: xattr %s is %.80q, want %.80q", name, key, got, want)
	}
}

const noData = "<no data available>"

// listx lists an object's xattrs, sorted, without those that the machine
// gives everything (security labels).
func (e *Env) listx(name string) []string {
	e.T.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(e.p(name), buf)
	e.ok(err)
	var out []string
	for _, k := range strings.Split(string(buf[:n]), "\x00") {
		if k != "" && k != "security.selinux" {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// tick lets the kernel's coarse clock move on.
func tick() { time.Sleep(12 * time.Millisecond) }

// mtime is an object's modification time in nanoseconds.
func (e *Env) mtime(name string) int64 {
	e.T.Helper()
	st := e.lstat(name)
	return st.Mtim.Nano()
}

// eventually waits a few seconds for what timeouts of caches may delay.
func (e *Env) eventually(ok func() bool, what string) {
	e.T.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	e.T.Fatal(what)
}
