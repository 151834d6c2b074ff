package steps

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outcome makes a list, starts it with the end of a pipe, and gives what was written to
// that, and how the process ended.
func outcome(t *testing.T, make func(l *List, out int)) (said string, code int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var l List
	out := int(w.Fd())
	l.Failing(unix.SYS_WRITE, out, "failed", 6)
	make(&l, out)
	pid, err := l.Start(0, func(int) error { return nil })
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	if !ws.Exited() {
		t.Fatalf("it ended with %#x", ws)
	}
	return string(b), ws.ExitStatus()
}

func say(l *List, out int, text string) *Step { return l.Call(unix.SYS_WRITE, out, text, len(text)) }

func TestCalls(t *testing.T) {
	file := t.TempDir() + "/file"
	st := new(unix.Statx_t)
	word := new(uint32)
	for _, c := range []struct {
		name string
		make func(l *List, out int)
		want string
		code int
	}{
		{"end", func(*List, int) {}, "failed", 125}, // whoever gets there has not become another program
		{"in turn", func(l *List, out int) {
			say(l, out, "a")
			say(l, out, "b")
			l.Call(unix.SYS_EXIT_GROUP, 7)
		}, "ab", 7},
		{"error", func(l *List, out int) {
			l.Call(unix.SYS_CHDIR, "/nosuch")
			say(l, out, "not here")
		}, "failed", 125},
		{"another error than is expected", func(l *List, out int) {
			l.Call(unix.SYS_CHDIR, "/nosuch").Or(unix.EPERM)
			say(l, out, "not here")
		}, "failed", 125},
		{"expected", func(l *List, out int) {
			no := l.Call(unix.SYS_CHDIR, "/nosuch").Else(unix.ENOENT)
			say(l, out, "not here")
			no.Here()
			l.Call(unix.SYS_CHDIR, "/nosuch").Or(AnyError)
			say(l, out, "here")
			over := l.Jump()
			say(l, out, "not here")
			over.Here()
			l.Call(unix.SYS_EXIT_GROUP, 0)
		}, "here", 0},
		{"results", func(l *List, out int) {
			fd := l.Call(unix.SYS_OPENAT, unix.AT_FDCWD, file, unix.O_CREAT|unix.O_RDWR, 0o600).Result()
			l.Call(unix.SYS_WRITE, fd, "text", 4)
			room := new([8]byte)
			n := l.Call(unix.SYS_PREAD64, fd, unsafe.Pointer(room), 8, 0).Least(4).Result()
			more := l.Add(n, 1).Result()
			same := l.Copy(n).Result()
			length := new(uintptr)
			l.Store(more, unsafe.Pointer(length))
			l.Call(unix.SYS_WRITE, out, unsafe.Pointer(room), same)
			l.Check(unsafe.Pointer(length), 0xff, 5)
			l.Call(unix.SYS_PREAD64, fd, unsafe.Pointer(room), 8, 4).Least(1) // the end
		}, "textfailed", 125},
		{"checks", func(l *List, out int) {
			l.Call(unix.SYS_STATX, unix.AT_FDCWD, "/dev/null", 0, unix.STATX_TYPE, unsafe.Pointer(st))
			no := l.Check(unsafe.Pointer(&st.Mode), unix.S_IFMT, unix.S_IFDIR).Else(Unlike)
			say(l, out, "not here")
			no.Here()
			l.Check(unsafe.Pointer(&st.Mode), unix.S_IFMT, unix.S_IFCHR)
			l.Check(unsafe.Pointer(&st.Rdev_minor), ^uint32(0), 3)
			l.Same(unsafe.Pointer(&st.Ino), unsafe.Pointer(&st.Ino))
			*word = 9
			l.Call(unix.SYS_EXIT_GROUP, l.Load(unsafe.Pointer(word)).Result())
		}, "", 9},
		{"program", func(l *List, out int) {
			argv, env := l.Texts([]string{"sh", "-c", `echo "$A $1"`, "-", "said"}), l.Texts([]string{"A=b"})
			l.Call(unix.SYS_DUP3, out, 1, 0)
			l.Call(unix.SYS_EXECVE, "/nosuch", unsafe.Pointer(&argv[0]), unsafe.Pointer(&env[0])).Or(unix.ENOENT)
			l.Call(unix.SYS_EXECVE, "/bin/sh", unsafe.Pointer(&argv[0]), unsafe.Pointer(&env[0]))
		}, "b said\n", 0},
	} {
		if said, code := outcome(t, c.make); said != c.want || code != c.code {
			t.Errorf("%s: %q, code %d; want %q, %d", c.name, said, code, c.want, c.code)
		}
	}
}

// TestFaults: what can't be a list isn't started, and what its caller gives up isn't
// begun.
func TestFaults(t *testing.T) {
	var l List
	l.Call(unix.SYS_CHDIR, "a\x00b")
	if _, err := l.Start(0, nil); err == nil || !strings.Contains(err.Error(), "list") {
		t.Errorf("a name with a NUL: %v", err)
	}
	l = List{}
	for range maxResults + 1 {
		l.Place()
	}
	if _, err := l.Start(0, nil); err == nil {
		t.Error("too many results")
	}
	l = List{}
	l.Call(unix.SYS_EXIT_GROUP, 0)
	pid, err := l.Start(0, func(int) error { return fmt.Errorf("no") })
	if pid == 0 || err == nil {
		t.Fatalf("%d, %v", pid, err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil || !ws.Signaled() {
		t.Errorf("%v, %#x", err, ws)
	}
}
